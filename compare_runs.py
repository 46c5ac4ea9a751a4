"""Compare finished runs: mean and standard deviation over seeds for every metric and model.

    python compare_runs.py RUN... [--output FOLDER]

    python compare_runs.py RUN... --page docs/results.template.md

Each RUN is a run folder, or a folder with run folders at any depth. Runs of the same model with the same settings form
one column; its heading names the settings in which it differs from the model's other columns. Tables go to FOLDER as
comparison.md, .tex and .csv, with plots beside them. With --page, a template is filled with tables and plots instead,
see evaluation/results_page.py.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from configs.arguments import flag, parse_flags, with_first
from configs.errors import UsageError
from configs.files import write_text
from configs.fonts import optional_figure
from configs.paths import expanded
from configs.script import run_script
from evaluation.results_page import write_page
from evaluation.run_plots import write_plots
from evaluation.run_table import gather, metrics_of
from evaluation.table_files import latex, long_table, markdown

log = logging.getLogger(__name__)
GROUP = "comparison"


@dataclass(frozen=True)
class ComparisonFlags:
    """What to compare, and where the tables go."""

    runs: tuple[str, ...] = flag(
        GROUP, (), "run folders, or folders that hold some; --runs can be left out", parse=expanded, many=True
    )
    page: str | None = flag(
        GROUP, None, "fill a template, NAME.template.md, and write NAME.md beside it", parse=expanded
    )
    output: str = flag(GROUP, "comparison", "folder for tables and plots", parse=expanded)


def main() -> None:
    """Print the table, write it and the plots."""
    (flags,) = parse_flags(with_first("runs", sys.argv[1:]), __doc__, ComparisonFlags)
    if not flags.runs:
        raise UsageError("name the runs to compare: python compare_runs.py RUN... (see --help)")
    rows = gather(flags.runs)
    if flags.page is not None:
        log.info("Saved as %s", write_page(Path(flags.page), rows))
        return
    metrics = metrics_of(rows)
    output = Path(flags.output)
    files = {"md": markdown, "tex": latex, "csv": long_table}
    for suffix, table in files.items():
        write_text(output / f"comparison.{suffix}", table(rows, metrics))
    plots = []
    with optional_figure("The plots"):
        plots = write_plots(output, rows)
    log.info(markdown(rows, metrics))
    names = [f"comparison.{suffix}" for suffix in files]
    log.info("Saved in %s: %s", output, ", ".join(names + plots))


if __name__ == "__main__":
    run_script(main)
