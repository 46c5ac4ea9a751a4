"""Tables over runs: what belongs together, and which numbers they show."""

import csv
import json
from collections import Counter
from pathlib import Path
from statistics import stdev

import pytest
import torch
from command_line import call
from state_files import save

import compare_runs
from architectures.sparse_head import SparseLayer
from benchmarks.coverage import simulated
from configs.errors import RunError, UsageError
from configs.files import write_json
from configs.model_card import ModelCard
from configs.model_types import MODEL_TYPES
from configs.run_files import CONFIG
from configs.run_folder import RunFolder
from evaluation import results_page
from evaluation.random_splits import random_splits
from evaluation.results_page import write_page
from evaluation.run_plots import _figure
from evaluation.run_table import Row, cells_of, gather, metrics_of, tell_apart
from evaluation.table_files import latex, markdown
from experiments import read_table


@pytest.fixture
def make_run(tmp_path):
    """Writes the results of a model of a run, as main.py leaves them."""

    def make(seed: int, model: str, accuracy: float, n_per_class: int = 5):
        folder = tmp_path / "runs" / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{model}_50_{n_per_class}"
        common = {"dataset": "CUB2011", "seed": seed}
        finetuned = {**common, "finetuning": {"lr": 1e-4}, "selection": f"{seed}"}
        made = {
            "Trained_DenseModel.pth": {**common, "images": f"digest{seed}"},
            f"{name}_FinetunedModel.pth": finetuned,
            f"{name}_Selection.npz": {"n_per_class": n_per_class, "features": f"{seed}"},
        }
        for file, settings in made.items():
            RunFolder(folder).enter(file, {"settings": settings, "sha256": ""})
        (folder / "Results_DenseModel.json").write_text(json.dumps({"Accuracy": 0.8}))
        sets = {"Coverage": accuracy, "Average set size": 2 - accuracy, "Set coherence": None}
        results = {
            "Accuracy": accuracy,
            "Dependence": accuracy / 2,
            "Prediction sets": {"THR": {"0.9": sets}},
            "Level accuracies": {"1": 0.95, "2": accuracy},
        }
        results |= dict.fromkeys(["Features per class", "PerClass"], n_per_class)  # published, too
        (folder / f"Results_{name}_FinetunedModel.json").write_text(json.dumps(results))

    return make


def test_seeds_are_one_column_and_other_settings_another(make_run, tmp_path):
    for seed, accuracy in enumerate((0.79, 0.81, 0.80)):
        make_run(seed, "chiqpm", accuracy)
    make_run(0, "chiqpm", 0.70, n_per_class=3)
    make_run(1, "qpm", 0.75)
    rows = gather([str(tmp_path)])
    labels = ["Dense", "CHiQPM (n_per_class 3)", "CHiQPM (n_per_class 5)", "QPM"]
    assert [row.label for row in rows] == labels
    assert [len(row.runs) for row in rows] == [3, 1, 3, 1]
    accuracy, kept, *_ = metrics_of(rows)
    cells = cells_of(rows, accuracy)
    assert cells[2].mean == pytest.approx(0.80)
    assert cells[2].std == pytest.approx(stdev((0.79, 0.81, 0.8)))
    assert [cell.best for cell in cells] == [False, False, True, False]  # dense does not compete
    assert cells[1].std is None
    of_dense, *_, of_qpm = cells_of(rows, kept)
    assert of_dense is None and of_qpm.mean == pytest.approx(0.75 / 0.8)
    dependence = next(m for m in metrics_of(rows) if m.name == "Dependence")
    assert [cell and cell.best for cell in cells_of(rows, dependence)] == [None, True, False, False]


def test_a_setting_that_only_some_have_is_named_only_if_others_do_not_tell_runs_apart():
    places = {"arch": "a@6places", "places.starts": "3"}
    rows = [Row("qpm", {"arch": "a"}), Row("qpm", places)]
    tell_apart(rows)
    assert [row.label for row in rows] == ["QPM (arch a)", "QPM (arch a@6places)"]
    rows.append(Row("qpm", places | {"places.starts": "1"}))
    tell_apart(rows)
    assert rows[2].label == "QPM (arch a@6places, places.starts 1)"


def test_tables_and_plots_are_written(make_run, tmp_path, caplog):
    for n_per_class in (3, 5):
        make_run(1, "chiqpm", 0.7 + n_per_class / 100, n_per_class=n_per_class)
    output = tmp_path / "out"
    with caplog.at_level("INFO"):
        call(compare_runs, tmp_path / "runs", "--output", output)
    assert "| Accuracy | 80.0 % | 73.0 % | **75.0 %** |" in caplog.text
    assert "| Features per class | - | 3 | 5 |" in caplog.text and "PerClass" not in caplog.text
    plots = {"accuracy_by_n_per_class.png", "set_size.png", "accuracy_by_level.png"}
    tables = {"comparison.md", "comparison.tex", "comparison.csv"}
    assert {p.name for p in output.iterdir()} == tables | plots
    tex = (output / "comparison.tex").read_text()
    assert r"Accuracy & 80.0 \% & 73.0 \% & \textbf{75.0 \%} \\" in tex
    with open(output / "comparison.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["metric"] == "Accuracy"]
    assert [(line["settings"], line["mean"]) for line in lines] == [
        ("", "0.8"), ("n_per_class=3", "0.73"), ("n_per_class=5", "0.75"),
    ]  # fmt: skip


def test_signs_of_latex_and_markdown_in_settings_are_escaped(make_run, tmp_path):
    make_run(1, "qpm", 0.5)
    rows = gather([str(tmp_path)])
    rows[1].differing = {"a_b": "50 % | {x}"}
    assert r"QPM (a\_b 50 \% | \{x\})" in latex(rows, metrics_of(rows))
    assert r"QPM (a_b 50 % \| {x})" in markdown(rows, metrics_of(rows))


@pytest.mark.parametrize("content", ["[]", '{"Accuracy": "high"}', "no JSON"])
def test_results_that_cannot_be_read_are_named_and_left_out(make_run, tmp_path, content, caplog):
    make_run(1, "qpm", 0.5)
    make_run(2, "qpm", 0.6)
    (tmp_path / "runs" / "2" / "Results_qpm_50_5_FinetunedModel.json").write_text(content)
    assert [len(row.runs) for row in gather([str(tmp_path)])] == [2, 1]  # dense, and QPM
    assert "Results_qpm_50_5_FinetunedModel.json is not a file of results" in caplog.text


def test_a_folder_without_runs_is_one_line(tmp_path):
    with pytest.raises(RunError, match="no finished run in"):
        gather([str(tmp_path)])


@pytest.mark.parametrize(
    "started_by, said", [("/a/main.py", ""), ("/b/many.py", "Scripts other than main.py started some of these runs. ")]
)
def test_a_page_holds_what_runs_have_left_and_says_where_there_are_none(make_run, tmp_path, started_by, said):
    for seed, accuracy in enumerate((0.7, 0.8)):
        make_run(seed, "chiqpm", accuracy)
        run = tmp_path / "runs" / str(seed)
        write_json(run / CONFIG, {"command": f"python {started_by} 1", "commit": f"abcdefghij{seed}", "arguments": {}})
        card = ModelCard({"dataset": "CUB2011", "seed": seed, "data_root": "/data", "img_size": 160}, {}, {})
        save({}, run / "chiqpm_50_5_FinetunedModel.pth", card)
    template = tmp_path / "docs" / "page.template.md"
    template.parent.mkdir()
    template.write_text(
        "# Page\n{{ table: dataset=CUB2011; metrics=Acc }}\n{{ plots: dataset=CUB2011 }}\n"
        "{{ runs: dataset=CUB2011 }}\n{{ table: dataset=StanfordCars }}\n"
    )
    page = write_page(template, gather([str(tmp_path / "runs")]))
    text = page.read_text()
    assert page.name == "page.md"
    assert "| Accuracy | 80.0 ± 0.0 % | 75.0 ± 7.1 % |" in text and "Dependence" not in text
    assert "![set_size.png](figures/page/CUB2011/set_size.png)" in text
    assert (tmp_path / "docs/figures/page/CUB2011/set_size.png").exists()
    assert "- CHiQPM: seeds 0, 1, commit abcdefg" in text
    command = "python main.py --dataset CUB2011 --model_type chiqpm --seed 0 --img_size 160"
    assert f"\n{said}CHiQPM of seed 0, by its recorded settings:\n\n    {command}\n" in text
    assert text.endswith("*No run of this kind is on hand.*\n")
    refused = {"table: dataset CUB": "'dataset CUB' in .* is not KEY=VALUE", "tables: seed=1": "none of table, splits"}
    for line, said in refused.items():
        template.write_text(f"{{{{ {line} }}}}\n")
        with pytest.raises(UsageError, match=said):
            write_page(template, [])


def test_a_page_has_prediction_sets_over_random_splits(make_run, tmp_path, monkeypatch):
    make_run(0, "chiqpm", 0.7)
    weight, table = simulated(n_images=120, n_classes=8)
    run = tmp_path / "runs" / "0"
    table.save(run / "chiqpm_50_5_Features_test.npz")
    SparseLayer(torch.arange(50), weight, torch.zeros(50), torch.ones(50)).save(run / "chiqpm_50_5_Selection.npz")
    monkeypatch.setattr(results_page, "N_SPLITS", 3)
    template = tmp_path / "page.template.md"
    template.write_text("{{ splits: dataset=CUB2011; metrics=THR at 90 %, *of THR's }}\n")
    lines = write_page(template, gather([str(run)])).read_text().splitlines()
    sets = random_splits(weight, table, 3).results()
    assert lines[0] == "|  | CHiQPM |"
    assert f"| THR at 90 %: set size | {sets['THR']['0.9']['Average set size']:.2f} |" in lines
    of_thr = sets["CHiQPM"]["0.95"]["Set size, of THR's"]
    assert f"| CHiQPM at 95 %: set size, of THR's | {of_thr:.2f} |" in lines
    assert not any("CHiQPM at 95 %: coverage" in line for line in lines)


def test_the_table_of_the_results_page_names_runs_that_exist_as_flags():
    table = Path(__file__).parents[2] / "experiments" / "results.toml"
    runs = [e.settings for e in read_table(table) if e.settings.dataset == "SyntheticBirds"]
    assert Counter(run.model_type for run in runs) == dict.fromkeys(MODEL_TYPES, 5)


def test_runs_on_other_or_changed_images_are_no_further_seeds_and_on_moved_ones_are(make_run, tmp_path):
    for seed, place in ((1, "birds"), (2, "birds"), (3, "cars")):
        make_run(seed, "qpm", 0.5)
        arguments = {"dataset": "ImageFolder", "data_root": str(tmp_path / place)}
        write_json(tmp_path / "runs" / str(seed) / CONFIG, {"arguments": arguments})

    def labels(cards=()):
        for seed, (place, images) in enumerate(cards, start=1):
            path = tmp_path / "runs" / str(seed) / "qpm_50_5_FinetunedModel.pth"
            settings = {"dataset": "ImageFolder", "data_root": str(tmp_path / place)}
            save({}, path, ModelCard(settings, {}, {"train": images, "test": "t"}))
        return {row.label: len(row.runs) for row in gather([str(tmp_path)]) if row.model == "qpm"}

    assert labels() == {f"QPM (data_root {tmp_path}/birds)": 2, f"QPM (data_root {tmp_path}/cars)": 1}
    moved = labels([("birds", "a"), ("moved", "a"), ("cars", "b")])
    assert sorted(moved.values()) == [1, 2]
    changed = labels([("birds", "a"), ("birds", "a"), ("birds", "b")])
    assert changed == {"QPM (train images a)": 2, "QPM (train images b)": 1}


def test_files_of_a_run_that_someone_edited_give_no_traceback(make_run, tmp_path):
    make_run(1, "qpm", 0.5)
    write_json(tmp_path / "runs" / "1" / CONFIG, {"arguments": [1]})
    path = tmp_path / "runs" / "1" / "Results_qpm_50_5_FinetunedModel.json"
    results = json.loads(path.read_text())
    for wrong in ({"THR": {"high": {"Coverage": 1}}}, {"THR": 3}, [], {"²": {"²": {}}}):
        path.write_text(json.dumps({**results, "Prediction sets": wrong, "Level accuracies": wrong}))
        call(compare_runs, tmp_path / "runs", "--output", tmp_path / "out")


def test_long_names_of_curves_leave_the_curves_room():
    figure = _figure("x", "y", {"CHiQPM (" + "dense.lr 0.05, " * 20 + ")": [(1, 2.0, 0.0)], "QPM": [(1, 3.0, 0.0)]})
    figure.draw_without_rendering()
    assert figure.axes[0].get_position().width > 0.4
