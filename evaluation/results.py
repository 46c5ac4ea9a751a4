"""Results for machines (JSON) and for people (a table)."""

import math
from pathlib import Path

from configs.files import read_json, write_json
from configs.finished_run import shared_flags
from configs.run_folder import RunFolder
from configs.settings import Settings

PERCENT = (
    "Accuracy",
    "SID@5",
    "Class-Independence",
    "Contrastiveness",
    "Structural Grounding",
    "Correlation",
    "Dependence",
    "Dependence on test images",
)
# Names in the JSON files of the published code, which ours hold in addition to our own names.
PUBLISHED_NAMES = {"Number of features": "NFfeatures", "Features per class": "PerClass"}
PUBLISHED_METHODS = {"CHiQPM (paper)": "CHiQPM", "APS": "APS", "THR": "THR"}
PUBLISHED_SET_NAMES = {"Coverage": "Coverage_rate", "Average set size": "Average_size", "Set coherence": "SetCoherence"}


def write_results(path, results: dict) -> None:
    """Write results as JSON, under the published names too; nan becomes null, which every JSON reader understands."""
    write_json(path, _without_nan({**results, **published_entries(results)}))


def published_entries(results: dict) -> dict:
    """The results that the published code writes under other names, under those names."""
    sets = results.get("Prediction sets", {})
    return {
        **{theirs: results[ours] for ours, theirs in PUBLISHED_NAMES.items()},
        **{
            theirs: {
                coverage: {name: values[key] for key, name in PUBLISHED_SET_NAMES.items()}
                for coverage, values in sets[ours].items()
            }
            for ours, theirs in PUBLISHED_METHODS.items()
            if ours in sets
        },
    }


def recorded_results(path: Path) -> dict:
    """The numbers in a file of results, which others may have written or edited; empty if it is not such a file."""
    results = read_json(path)
    numbers = results.items() if isinstance(results, dict) else ()
    return {
        key: value
        for key, value in numbers
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def summary(settings: Settings, run: RunFolder, dense: dict, sparse: dict) -> str:
    """The results, where they are, and what to do next: for people."""
    flags = shared_flags(settings, run)
    # Only classes that are sets of features have a tree.
    tree = [f"  python visualize_tree.py {flags}"] if settings.kind.hierarchical else []
    return "\n".join(
        [
            "",
            f"{settings.model_type} on {settings.dataset}, seed {settings.seed}",
            "",
            results_table(dense, sparse, settings.model_name),
            "",
            "What the rows mean: docs/words.md",
            *_kept_accuracy(dense, sparse),
            f"Saved in {run.path}",
            "Next:",
            f"  python compare_classes.py {flags}",
            *tree,
            f"  python predict.py {flags} --image FILE_OR_FOLDER",
        ]
    )


def _kept_accuracy(dense: dict, sparse: dict) -> list[str]:
    if not dense.get("Accuracy"):
        return []
    ratio = sparse["Accuracy"] / dense["Accuracy"]
    return [
        f"With {sparse['Number of features']} features, {sparse['Features per class']:.3g} per class, the sparse model "
        f"reaches {_percent(ratio)} of the dense accuracy.",
        "",
    ]


def results_table(dense: dict, sparse: dict, name: str) -> str:
    """Dense and sparse model side by side, then prediction sets, then how true the explanations are, if known.

    Args:
        dense: results of the dense model; may lack entries.
        name: of the sparse model.
    """
    lines = [f"{'':34}{'Dense':>10}{name:>14}"]
    for key, value in sparse.items():
        measured = value is not None or dense.get(key) is not None
        if measured and not isinstance(value, dict) and key not in PUBLISHED_NAMES.values():
            lines.append(f"{key:34}{_number(key, dense.get(key)):>10}{_number(key, value):>14}")
    lines += ["", *_prediction_sets(sparse["Prediction sets"])]
    for group, title, shown in (
        ("Explanation truth", "Explanations, beside the known parts (docs/truth.md)", _percent),
        ("Faithfulness", "Heatmaps, beside what the model uses (docs/truth.md)", _decimal),
    ):
        if group in sparse:
            lines += ["", title, *(f"{key:58}{shown(value)}" for key, value in sparse[group].items())]
    return "\n".join(lines)


def _prediction_sets(results: dict) -> list[str]:
    targets = list(next(iter(results.values())))
    known = any(result["Set coherence"] is not None for by_target in results.values() for result in by_target.values())
    coherence = " [set coherence]" if known else ""
    lines = [
        f"Prediction sets: coverage (average set size){coherence} at the targeted coverage",
        f"{'':16}" + "".join(f"{float(target):>24.1%}" for target in targets),
    ]
    for method, by_target in results.items():
        cells = (_set_cell(by_target[target]) for target in targets)
        lines.append(f"{method:16}" + "".join(f"{cell:>24}" for cell in cells))
    return lines


def _set_cell(result: dict) -> str:
    coherence = result["Set coherence"]
    shown = "" if coherence is None else f" [{coherence:.2f}]"
    return f"{result['Coverage']:.1%} ({result['Average set size']:.2f}){shown}"


def _number(key: str, value) -> str:
    if value is None:
        return "-"
    if key in PERCENT:
        return _percent(value)
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
