"""Benchmarks: five minutes for one page about every stage, or a closer look at one question.

python -m benchmarks [--output benchmarks/RESULTS.md] [--quick]     every stage against a straightforward implementation
python -m benchmarks selection [--seconds 20] [--certificate 60]    solvers on the large programs of the tests
python -m benchmarks paths                                          sparse linear paths at the size of CUB2011
python -m benchmarks coverage [RUN_FOLDER] [--splits 1000]          prediction sets over random splits
python -m benchmarks alternatives RUN_FOLDER                        linear probe and decision trees on the same images
python -m benchmarks large [--images 20000 80000]                   time and memory at the size of ImageNet
"""

import argparse
from collections.abc import Sequence

from benchmarks import alternatives, calibration, glm_path, large, page, selection
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
        "python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    page.add_arguments(parser)
    topics = parser.add_subparsers(dest="topic")
    for name, module in TOPICS.items():
        module.add_arguments(topics.add_parser(name, help=module.__doc__.splitlines()[0]))
    asked = parser.parse_args(arguments)
    TOPICS.get(asked.topic, page).report(asked)


if __name__ == "__main__":
    run_script(main)
