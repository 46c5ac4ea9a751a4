"""Benchmarks: five minutes for one page about every stage, or a closer look at one question.

python -m benchmarks [--output benchmarks/RESULTS.md] [--quick]     every stage against the plain way of doing it
python -m benchmarks selection [--seconds 20] [--certificate 60]    solvers on the large programs of the tests
python -m benchmarks paths                                          sparse linear paths at the size of CUB2011
python -m benchmarks coverage [RUN_FOLDER] [--splits 1000]          prediction sets over random splits
python -m benchmarks alternatives RUN_FOLDER                        linear probe and decision trees on the same images
python -m benchmarks large [--images 20000 80000]                   time and memory at the size of ImageNet
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import alternatives, calibration, glm_path, large, selection
from benchmarks.page import page
from configs.run_folder import write_atomically
from configs.script import run_script

TOPICS = {
    "selection": selection,
    "paths": glm_path,
    "coverage": calibration,
    "alternatives": alternatives,
    "large": large,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the page, or the tables of one topic."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: do all rows work?")
    topics = parser.add_subparsers(dest="topic")
    for name, module in TOPICS.items():
        module.add_arguments(topics.add_parser(name, help=module.__doc__.splitlines()[0]))
    asked = parser.parse_args(arguments)
    if asked.topic:
        TOPICS[asked.topic].report(asked)
        return
    text = page(asked.quick)
    print(text)
    if asked.output:
        write_atomically(asked.output, lambda path: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    run_script(main)
