"""Compare finished runs: mean and standard deviation over seeds for every metric and model.

    python compare_runs.py RUN... [--output FOLDER]

Each RUN is a run folder, or a folder that holds some at any depth. Runs of the same model and settings are one column;
the settings in which columns of a model differ are in its heading. Tables go to FOLDER as comparison.md, .tex and
.csv, plots beside them.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from configs.arguments import flag, parse_flags, with_first
from configs.errors import UsageError
from configs.fonts import optional_figure
from configs.paths import expanded
from configs.run_folder import write_atomically
from configs.script import run_script
from evaluation.run_plots import write_plots
from evaluation.run_table import gather, metrics_of
from evaluation.table_files import csv_text, latex, markdown

log = logging.getLogger(__name__)
GROUP = "comparison"


@dataclass(frozen=True)
class ComparisonFlags:
    """What is compared, and where the tables go."""

    runs: tuple[str, ...] = flag(
        GROUP, (), "run folders, or folders that hold some", parse=expanded, many=True
    )
    output: str = flag(GROUP, "comparison", "folder for tables and plots", parse=expanded)


def main() -> None:
    """Print the table, write it and the plots."""
    (flags,) = parse_flags(with_first("runs", sys.argv[1:]), __doc__, ComparisonFlags)
    if not flags.runs:
        raise UsageError("name the runs to compare: python compare_runs.py RUN... (see --help)")
    rows = gather(flags.runs)
    metrics = metrics_of(rows)
    output = Path(flags.output)
    files = {"md": markdown, "tex": latex, "csv": csv_text}
    for suffix, table in files.items():
        text = table(rows, metrics)
        write_atomically(
            output / f"comparison.{suffix}", lambda path, text=text: path.write_text(text, "utf-8")
        )
    plots = []
    with optional_figure("The plots"):
        plots = write_plots(output, rows)
    log.info(markdown(rows, metrics))
    names = [f"comparison.{suffix}" for suffix in files]
    log.info("Saved in %s: %s", output, ", ".join(names + plots))


if __name__ == "__main__":
    run_script(main)
