"""Tables over runs as Markdown, LaTeX and CSV, models side by side."""

from collections.abc import Callable

from configs.files import csv_text
from evaluation.run_table import Cell, Metric, Row, cells_of

LATEX_SIGNS = str.maketrans({
    "\\": r"\textbackslash{}", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "±": r"$\pm$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
})  # fmt: skip


def markdown(rows: list[Row], metrics: list[Metric]) -> str:
    """A Markdown table; the best sparse model of each line is bold."""
    lines = _lines(rows, metrics, lambda text: text.replace("|", r"\|"), lambda text: f"**{text}**")
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(rows: list[Row], metrics: list[Metric]) -> str:
    """A LaTeX `tabular`, without packages; the best sparse model of each line is bold."""
    head, *body = _lines(rows, metrics, lambda text: text.translate(LATEX_SIGNS), lambda text: rf"\textbf{{{text}}}")
    ending = " \\\\\n"
    return (
        f"\\begin{{tabular}}{{l{'r' * len(rows)}}}\n\\hline\n{' & '.join(head)}{ending}\\hline\n"
        + "".join(" & ".join(line) + ending for line in body)
        + "\\hline\n\\end{tabular}\n"
    )


def long_table(rows: list[Row], metrics: list[Metric]) -> str:
    """CSV with a line for every model and metric: mean, standard deviation, number of seeds."""
    lines = [["model", "settings", "metric", "mean", "std", "seeds"]]
    for metric in metrics:
        for row, cell in zip(rows, cells_of(rows, metric), strict=True):
            if cell is not None:
                settings = "; ".join(f"{key}={value}" for key, value in row.differing.items())
                std = "" if cell.std is None else f"{cell.std:.6g}"
                numbers = [f"{cell.mean:.6g}", std, str(cell.n)]
                lines.append([row.model, settings, metric.name, *numbers])
    return csv_text(lines)


def _lines(
    rows: list[Row], metrics: list[Metric], plain: Callable[[str], str], bold: Callable[[str], str]
) -> list[list[str]]:
    """Head, number of seeds, and a line for every metric, each cell as text."""

    def shown(cell: Cell | None, percent: bool) -> str:
        if cell is None:
            return "-"
        text = plain(cell.text(percent))
        return bold(text) if cell.best else text

    lines = [["", *(plain(row.label) for row in rows)], ["seeds", *(str(len(row.runs)) for row in rows)]]
    for metric in metrics:
        cells = cells_of(rows, metric)
        lines.append([plain(metric.name), *(shown(cell, metric.percent) for cell in cells)])
    return lines
