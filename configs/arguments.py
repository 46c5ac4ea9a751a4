"""A command line made from dataclasses: every flag has one home, beside its default and its meaning."""

import argparse
import difflib
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from configs.errors import UsageError
from configs.script import script_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TRUE_WORDS = ("true", "yes", "1", "on")
FALSE_WORDS = ("false", "no", "0", "off")
LARGEST = 2**32  # of a number on the command line; the seeds end there
T = TypeVar("T", bound="DataclassInstance")
N = TypeVar("N", int, float)


def flag(group: str, default: Any, meaning: str, *, parse=None, many=False, repeated=False, metavar=None) -> Any:
    """A dataclass field that is a command line flag.

    Args:
        group: heading in `--help`.
        meaning: one line for `--help`; a default that is not None is added to it.
        parse: text -> value, raising ValueError; taken from the default's type if left out. `boolean` makes a switch
            with a `--no-` form.
        many: whether several values may follow; then the field is a tuple.
        repeated: whether a repeated flag adds to its values rather than replacing them. Needs `many`.
        metavar: placeholder of the value in `--help`.
    """
    if parse is None:
        parse = boolean if isinstance(default, bool) else type(default)
    options = dict(group=group, meaning=meaning, parse=parse, many=many, repeated=repeated, metavar=metavar)
    return field(default=default, metadata=options)


def boolean(text: str) -> bool:
    """The truth value of a word: True/yes/1/on or False/no/0/off, in any case; ValueError for others."""
    if text.lower() in TRUE_WORDS:
        return True
    if text.lower() in FALSE_WORDS:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def choice(choices: Collection[str], what: str) -> Callable[[str], str]:
    """A parser for `flag` that turns a name, whatever its case, `-` and `_`, into its spelling in `choices`.

    ValueError lists these.
    """

    def plain(text: str) -> str:
        return text.lower().replace("-", "").replace("_", "")

    def parse(text: str) -> str:
        for known in choices:
            if plain(known) == plain(text):
                return known
        raise ValueError(f"unknown {what} {text!r}; choose one of {', '.join(choices)}")

    return parse


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to below `high`."""

    low: float = 0
    high: float = math.inf
    above: bool = False  # whether `low` itself is left out

    def checked(self, value: N) -> N:
        """The value; ValueError if it lies outside."""
        if not self.low <= value < self.high or (self.above and value == self.low):
            least = "more than" if self.above else "at least"
            limit = f" and below {self.high}" if self.high < math.inf else "" if math.isfinite(value) else " and finite"
            raise ValueError(f"it must be {least} {self.low}{limit}, not {value}")
        return value


def within(kind: type[N], limits: Range) -> Callable[[str], N]:
    """A parser for `flag` of numbers in a range; ValueError says which."""
    return lambda text: limits.checked(number(kind, text))


def with_first(name: str, argv: list[str]) -> list[str]:
    """The arguments, with the named flag put in front of those that precede the first flag."""
    return [f"--{name}", *argv] if argv and not argv[0].startswith("-") else argv


def parse_flags(argv: Sequence[str] | None, description: str, *kinds: type[T]) -> tuple[T, ...]:
    """One instance of every dataclass, filled from the command line.

    Args:
        argv: arguments without the script's name; `sys.argv[1:]` if None.
        description: what `--help` begins with.
        kinds: dataclasses whose fields are made by `flag`; `--help` has the groups in this order.

    Raises:
        UsageError: on an unknown flag or a value that does not fit.
    """
    given = given_flags(argv, description, *kinds)
    return tuple(filled(kind, given) for kind in kinds)


def filled(kind: type[T], given: Mapping[str, Any]) -> T:
    """An instance of a dataclass of flags, with defaults for those not given; other flags are ignored."""
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})


def given_flags(argv: Sequence[str] | None, description: str, *kinds: type) -> dict[str, Any]:
    """The flags on a command line and their values; arguments and errors as in `parse_flags`."""
    declared = [f for kind in kinds for f in fields(kind)]
    parser = _parser(description, declared)
    arguments = _canonical_flags(list(sys.argv[1:] if argv is None else argv), declared)
    namespace, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise UsageError(_unknown(unknown[0], declared))
    return {name: tuple(value) if isinstance(value, list) else value for name, value in vars(namespace).items()}


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are ours to print."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def _parser(description: str, declared: list[Field]) -> argparse.ArgumentParser:
    parser = _OneLineParser(
        script_name(),
        usage="%(prog)s [--FLAG VALUE ...]",
        description=description,
        # Commands in a description stay on lines of their own.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=32, width=110),
        allow_abbrev=False,
    )
    titles = dict.fromkeys(f.metadata["group"] for f in declared)
    groups = {title: parser.add_argument_group(title) for title in titles}
    for f in declared:
        options = f.metadata
        switch = options["parse"] is boolean
        groups[options["group"]].add_argument(
            f"--{f.name}",
            dest=f.name,
            default=argparse.SUPPRESS,  # argparse would parse defaults that are text
            type=_reporting(options["parse"]),
            nargs="?" if switch else ("+" if options["many"] else None),
            action="extend" if options["repeated"] else "store",
            const=True if switch else None,
            metavar=options["metavar"] or ("BOOL" if switch else f.name.upper()),
            help=_help(f),
        )
    return parser


def _help(f: Field) -> str:
    default, meaning = f.default, f.metadata["meaning"]
    if default is not None and default != ():
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        meaning += f" (default: {shown})"
    return meaning.replace("%", "%%")


def _reporting(parse):
    """A parser whose ValueError message reaches the user."""

    def parse_or_report(text: str):
        try:
            return number(parse, text) if parse in (int, float) else parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_or_report


def number(kind: type[N], text: str) -> N:
    """The number that a text spells; ValueError if it is not one, or larger than any setting can sensibly be."""
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {'a whole number' if kind is int else 'a number'}") from None
    if LARGEST < abs(value) < math.inf:
        raise ValueError(f"{text} is too large")
    return value


def _canonical_flags(argv: list[str], declared: list[Field]) -> list[str]:
    """Spell flags as declared: `-` and `_` are the same, case does not count, `--no-x` is `--x=False`."""
    names = {f.name.lower(): f for f in declared}
    spelled = []
    for argument in argv:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            if value == "--":  # argparse would drop it as the end of the flags
                raise UsageError(f"--{name}: '--' is not a value")
            plain = name.lower().replace("-", "_")
            negated = names.get(plain.removeprefix("no_")) if plain.startswith("no_") else None
            if plain in names:
                argument = f"--{names[plain].name}{equals}{value}"
            elif negated is not None and negated.metadata["parse"] is boolean and not equals:
                argument = f"--{negated.name}=False"
        spelled.append(argument)
    return spelled


def _unknown(argument: str, declared: list[Field]) -> str:
    if argument.startswith(("–", "—")):  # as text programs print two hyphens
        return f"{argument!r} begins with a dash; flags begin with two hyphens, --"
    if not argument.startswith("-"):
        return f"unexpected argument {argument!r} (see --help)"
    name = argument.lstrip("-").partition("=")[0].replace("-", "_")
    close = difflib.get_close_matches(name, [f.name for f in declared], n=1)
    hint = f"did you mean --{close[0]}?" if close else "see --help"
    return f"unknown flag {argument.partition('=')[0]}; {hint}"
