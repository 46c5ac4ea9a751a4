"""What a training reports while it runs."""

import sys

import pytest

from configs.errors import UsageError
from configs.settings import Settings, resolve
from training.history import METRICS_FILE, History, read_metrics, training_figure
from training.plan import epochs_left, planned_phases
from training.trackers import make_tracker


def row(epoch: int, kind: str = "epoch", **more) -> dict:
    measured = {"epoch": epoch, "step": 4 * epoch, "loss": 1 / epoch, "lr": 0.1}
    return {"phase": "Dense", "kind": kind, **measured, **more}


def test_rows_of_a_killed_training_are_neither_lost_nor_doubled(tmp_path):
    first = History(tmp_path, "dense")
    first.restore([])
    first.add([row(1, "step"), row(1)])
    first.add([row(2)])
    # Killed after the checkpoint of epoch 1, or after it was lost: the checkpoint's rows count.
    again = History(tmp_path, "dense")
    again.restore([row(1, "step"), row(1)])
    again.add([row(2, held_out_accuracy=0.5)])
    other = History(tmp_path, "qpm_8_3")
    other.restore([])
    other.add([row(1)])
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [(r["stage"], r["kind"], r["epoch"]) for r in rows] == [
        ("dense", "step", 1), ("dense", "epoch", 1), ("dense", "epoch", 2), ("qpm_8_3", "epoch", 1),
    ]  # fmt: skip
    assert rows[2]["held_out_accuracy"] == 0.5 and rows[1]["held_out_accuracy"] is None
    other.draw()
    assert (tmp_path / "training.png").stat().st_size > 1000
    figure = training_figure(rows)
    assert len(figure.axes[0].lines) == 4  # loss of two stages, and where each begins
    figure.draw_without_rendering()
    assert not any("$" in tick.get_text() for tick in figure.axes[2].get_yticklabels(which="both"))


def test_time_left_counts_coarse_epochs_for_what_they_cost():
    settings = resolve(Settings(dataset="CUB2011", weights="none", data_root="/data", log_dir="/log"))
    phases = planned_phases(settings)
    assert [(p.stage, p.epochs) for p in phases[:2]] == [("dense", 90), ("dense", 30)]
    finetuning = sum(p.epochs for p in phases[2:])
    assert epochs_left(settings, "dense", 1, 10) == 20 + finetuning
    assert epochs_left(settings, "dense", 0, 90) == pytest.approx((30 + finetuning) / phases[0].cost)
    assert epochs_left(settings, "chiqpm_50_5", len(phases) - 3, phases[-1].epochs) == 0


def test_networks_without_strides_have_no_coarse_epochs():
    settings = Settings(dataset="CUB2011", arch="vit_tiny_patch16_224", data_root="/data", log_dir="/log")
    dense, *finetuning = planned_phases(resolve(settings))
    assert resolve(settings).dense.coarse_share > 0
    assert (dense.stage, dense.epochs, dense.cost) == ("dense", 12, 1)
    assert {phase.cost for phase in finetuning} == {1}


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_is_one_line(name, tmp_path, monkeypatch):
    for module in ("wandb", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"--track {name} needs a package: pip install {name}"):
        make_tracker(name, tmp_path)


def test_tensorboard_shows_every_epoch_once(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for kept in ([], [row(1)]):  # begun, and gone on after a kill
        tracker = make_tracker("tensorboard", tmp_path)
        tracker.begin("dense", kept)
        tracker.add([row(e) for e in range(len(kept) + 1, 4)])
    shown = accumulators.EventAccumulator(str(tmp_path / "tensorboard" / "dense")).Reload()
    losses = [(e.step, round(e.value, 3)) for e in shown.Scalars("loss")]
    assert losses == [(1, 1), (2, 0.5), (3, 0.333)]


def test_lines_that_someone_damaged_are_left_out(tmp_path):
    History(tmp_path, "dense").add([row(1), row(2)])
    path = tmp_path / METRICS_FILE
    head, first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([head, first.replace(b",4,", b",4.5;,"), b"\xff,", second, second[:20]]))
    assert [row["epoch"] for row in read_metrics(path)] == [2]
