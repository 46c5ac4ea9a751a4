"""Benchmarks: some minutes for one page about the costly steps, or a closer look at one question.

python -m benchmarks                                                costly steps against straightforward implementations
python -m benchmarks selection [--seconds 60] [--certificate 60]    solvers on the large programs of the tests
python -m benchmarks paths                                          sparse linear paths at the size of CUB2011
python -m benchmarks coverage [RUN_FOLDER] [--splits 1000]          prediction sets over random splits
python -m benchmarks alternatives RUN_FOLDER                        linear probe and decision trees on the same images
python -m benchmarks large [--images 20000 80000]                   time and memory at the size of ImageNet
python -m benchmarks --output PAGE.md [TOPIC ...]                   writes what it prints to a file, too
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import alternatives, coverage, large, paths, selection, stages
from benchmarks.measuring import machine
from benchmarks.table import markdown
from configs.run_folder import write_atomically
from configs.script import run_script

TOPICS = {
    "stages": stages,
    "selection": selection,
    "paths": paths,
    "coverage": coverage,
    "alternatives": alternatives,
    "large": large,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the tables of one topic, by default of the stages."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    parser.set_defaults(topic="stages")
    topics = parser.add_subparsers()
    for name, module in TOPICS.items():
        topic = topics.add_parser(name, help=module.__doc__.splitlines()[0])
        topic.set_defaults(topic=name)
        getattr(module, "add_arguments", lambda _: None)(topic)
    asked = parser.parse_args(arguments)
    parts = [f"# Benchmarks: {asked.topic}", markdown(["machine", ""], machine().items())]
    print(*parts, sep="\n\n")
    for table in TOPICS[asked.topic].tables(asked):
        print(f"\n{table}", flush=True)
        parts.append(table)
    if asked.output:
        text = "\n\n".join(parts) + "\n"
        write_atomically(asked.output, lambda path: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    run_script(main)
