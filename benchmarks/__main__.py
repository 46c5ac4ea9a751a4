"""Benchmarks: `python -m benchmarks` compares costly steps with straightforward ones; topics go into detail."""

import argparse
import inspect
from collections.abc import Callable, Sequence

from benchmarks import alternatives, backbones, coverage, large, paths, selection, stages
from benchmarks.measuring import machine
from benchmarks.table import markdown
from configs.script import run_script

MODULES = (stages, backbones, selection, paths, coverage, alternatives, large)
TOPICS = {module.__name__.rpartition(".")[2]: module for module in MODULES}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the tables of one topic, by default of the stages."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    topics = parser.add_subparsers(dest="topic")
    for name, module in TOPICS.items():
        described = f"{module.__doc__}\n{inspect.getdoc(module.tables)}"
        title = module.__doc__.splitlines()[0]
        formatter = argparse.RawDescriptionHelpFormatter
        add_flags(topics.add_parser(name, help=title, description=described, formatter_class=formatter), module.tables)
    asked = vars(parser.parse_args(arguments))
    topic = asked.pop("topic") or "stages"
    print(f"# Benchmarks: {topic}", markdown(["machine", ""], machine().items()), sep="\n\n")
    for table in TOPICS[topic].tables(**asked):
        print(f"\n{table}", flush=True)


def add_flags(parser: argparse.ArgumentParser, function: Callable) -> None:
    """The parameters of a function as arguments of a command line; keyword-only ones are flags."""
    for parameter in inspect.signature(function).parameters.values():
        name, default = parameter.name, parameter.default
        if parameter.kind is not parameter.KEYWORD_ONLY:
            parser.add_argument(name, nargs="?" if default is None else None)
        elif isinstance(default, bool):
            parser.add_argument(f"--{name}", action="store_true")
        elif isinstance(default, tuple):
            parser.add_argument(f"--{name}", type=type(default[0]), nargs="+", default=default)
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)


if __name__ == "__main__":
    run_script(main)
