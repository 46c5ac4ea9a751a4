"""A page of results made from run folders: a template whose `{{ ... }}` lines become tables, plots and sources.

    {{ table: dataset=CUB2011; metrics=Accuracy, SID@5 }}    the runs with these settings; metrics by how they begin
    {{ splits: dataset=CUB2011; metrics=THR, *coherence }}   their prediction sets, averaged over random splits
    {{ plots: dataset=CUB2011 }}                             their plots
    {{ runs: dataset=CUB2011 }}                              how they were made: seeds, commits, one command

No number of a run is typed into a template, so every number on the page comes from a run. If there are no such runs,
the page says so.
"""

import copy
import dataclasses
import logging
import re
from fnmatch import fnmatchcase
from pathlib import Path

from configs.errors import UsageError, reason
from configs.files import write_text
from configs.finished_run import training_command
from configs.records import read_config
from configs.run_files import SPARSE_MODEL
from evaluation.random_splits import saved_splits
from evaluation.run_plots import write_plots
from evaluation.run_table import DENSE, SETS, Row, metrics_of, tell_apart
from evaluation.table_files import markdown

log = logging.getLogger(__name__)

TEMPLATE = ".template.md"
DIRECTIVE = re.compile(r"^\{\{ *(\w+) *:(.*)\}\}$", re.M)
KINDS = ("table", "splits", "plots", "runs")
N_SPLITS = 1000
NOTHING = "*No run of this kind is on hand.*"


def write_page(template: Path, rows: list[Row]) -> Path:
    """Write `NAME.md` beside `NAME.template.md`, plots into `figures/NAME`; UsageError if the template is invalid."""
    if not template.name.endswith(TEMPLATE):
        raise UsageError(f"--page {template}: the name of a template ends with {TEMPLATE}")
    try:
        text = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--page {template} cannot be read: {reason(error)}") from None
    name = template.name.removesuffix(TEMPLATE)
    figures = template.parent / "figures" / name

    def filled(match: re.Match) -> str:
        kind, asked = match[1], _options(template, match)
        if kind not in KINDS:
            raise UsageError(f"{template}: {match[0]} begins with none of {', '.join(KINDS)}")
        metrics = asked.pop("metrics", "").split(",")
        chosen = [copy.copy(row) for row in rows if asked.items() <= row.settings.items()]
        tell_apart(chosen)
        if not chosen:
            return NOTHING
        if kind == "plots":
            return _plots(chosen, figures, asked)
        if kind == "runs":
            return _sources(chosen)
        return _table(
            [_over_splits(row) for row in chosen if row.model != DENSE] if kind == "splits" else chosen, metrics
        )

    page = template.with_name(f"{name}.md")
    write_text(page, DIRECTIVE.sub(filled, text))
    return page


def _options(template: Path, match: re.Match) -> dict[str, str]:
    options = {}
    for part in filter(str.strip, match[2].split(";")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{template}: {part.strip()!r} in {match[0]} is not KEY=VALUE")
        options[key.strip()] = value.strip()
    return options


def _table(rows: list[Row], metrics: list[str]) -> str:
    """The metrics whose names begin with one of `metrics`; * in it stands for anything."""
    patterns = [f"{metric.strip()}*" for metric in metrics]
    shown = [metric for metric in metrics_of(rows) if any(fnmatchcase(metric.name, p) for p in patterns)]
    return markdown(rows, shown).rstrip()


def _over_splits(row: Row) -> Row:
    """The same models with one kind of results: their prediction sets over random splits."""
    runs = []
    for run in row.runs:
        log.info("Prediction sets of %s in %s over %d splits", run.name, run.folder, N_SPLITS)
        runs.append(dataclasses.replace(run, results={SETS: saved_splits(run.folder, run.name, N_SPLITS)}))
    return dataclasses.replace(row, runs=runs)


def _plots(rows: list[Row], figures: Path, asked: dict[str, str]) -> str:
    folder = figures / "_".join(re.sub(r"\W+", "_", value) for value in asked.values())
    names = write_plots(folder, rows)
    links = [f"![{name}]({folder.relative_to(figures.parents[1]).as_posix()}/{name})" for name in names]
    return "\n".join(links)


def _sources(rows: list[Row]) -> str:
    """How every row was made: the seeds and the commits, and the command for the first sparse model."""
    lines = []
    for row in rows:
        commits = {str(read_config(run.folder).get("commit"))[:7] for run in row.runs}
        seeds = ", ".join(str(run.seed) for run in row.runs)
        lines.append(f"- {row.label}: seeds {seeds}, commit {', '.join(sorted(commits))}")
    row = next((row for row in rows if row.model != DENSE), rows[0])
    run = row.runs[0]
    if command := training_command(run.folder / f"{run.name}{SPARSE_MODEL}"):
        started = [str(read_config(run.folder).get("command", "main.py")) for row in rows for run in row.runs]
        by_others = any("main.py" not in text for text in started)
        others = "Scripts other than main.py started some of these runs. " if by_others else ""
        lines += ["", f"{others}{row.label} of seed {run.seed}, by its recorded settings:", "", f"    {command}"]
    return "\n".join([*lines, ""])
