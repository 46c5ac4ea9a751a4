"""The benchmark command: every row can be measured, and both of its ways do the same work."""

import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from benchmarks import (
    calibration,
    constants,
    evaluation,
    glm_path,
    large,
    selection,
    table,
    training,
)
from benchmarks.__main__ import TOPICS, main
from benchmarks.measuring import in_own_process, in_turns, log_log_slope, measured
from benchmarks.page import GROWTHS, ROWS
from benchmarks.table import NOTHING
from configs.errors import UsageError


def table_rows(page: str) -> list[list[str]]:
    """Cells of all lines of all tables."""
    lines = (line.strip("|").split("|") for line in page.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in cells] for cells in lines]


@contextmanager
def this_process():
    """In place of `own_process`, which takes seconds to start."""
    yield lambda function, *given: function(*given)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(table, "own_process", this_process)
    monkeypatch.setattr(table, "in_own_process", lambda function, *given: function(*given))


def test_the_page_holds_every_row_with_its_ratio_or_slope(tmp_path, in_this_process, capsys):
    main(["--quick", "--output", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == f"{page}\n"
    measured_rows = [cells for cells in table_rows(page) if len(cells) == 7][2:]
    for row, cells in zip(ROWS, measured_rows, strict=True):
        title, ours, against, takes, ratio, *memory = cells
        assert title == row.title.format(**row.quick)
        assert float(ours.split()[0]) > 0 and "MiB" in memory[0], title
        if against == NOTHING:
            assert [takes, ratio, memory[1]] == [NOTHING] * 3, title
        else:
            assert float(ratio.strip("*")) > 0 and "MiB" in memory[1], title
    growths = [cells for cells in table_rows(page) if len(cells) == 4 and "**" in cells[3]]
    assert len(growths) == len(GROWTHS)
    assert all(np.isfinite(float(cells[3].strip("*"))) for cells in growths)
    assert {"commit", "processor", "memory"} <= {cells[0] for cells in table_rows(page)}


def test_a_missing_package_is_named_in_its_row(in_this_process):
    def missing(*_, **__):
        raise UsageError("the solver needs a package")

    row = table.Row("Title", missing, sizes={}, quick={}, against="it")
    cells = table.compare(row)
    assert cells[:4] == ["Title", NOTHING, "it", "the solver needs a package"]
    assert len(cells) == 7


def both(case, **sizes):
    with case(**sizes) as (ours, other):
        return ours(), other()


def test_constants_equal_the_textbook():
    ours, textbook = both(constants.correlations, images=80, features=9, classes=4)
    for found, expected in zip(ours, textbook, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_prediction_sets_follow_the_formula():
    ours, formula = both(calibration.prediction_sets, images=200, classes=8)
    assert (ours.numpy() == formula).all()
    assert formula.any() and not formula.all()


def test_both_steps_train_alike():
    with training.step(arch="resnet18", side=32, images=2, precision="fp32") as steps:
        for _ in range(2):  # the second loss sees what the first step has learnt
            losses = []
            for step in steps:
                torch.manual_seed(0)  # of dropout
                losses.append(step().item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_numbers_that_are_shown_agree():
    ours, mixtures = both(evaluation.modes, images=500, features=4)
    assert ours == pytest.approx(mixtures, abs=1e-3)
    ours, highs = both(selection.proven, features=20, classes=6, seconds=20)
    assert ours == pytest.approx(highs)
    ours, saga = both(glm_path.strengths, images=60, features=5, classes=3, points=1)
    assert ours <= saga and ours == pytest.approx(saga, rel=0.02)


def test_memory_is_measured_in_another_process():
    run, pid = in_own_process(measured, np.ones, 2**22), in_own_process(os.getpid)
    assert run.mebibytes == pytest.approx(32, abs=4)
    assert len(run.result) == 2**22 and pid != os.getpid()


def test_works_take_turns():
    drift = iter([9, 8, 1, 5, 3, 7])  # one after the other; the first two do not count
    assert in_turns([lambda: next(drift)] * 2, rounds=2) == [2, 6]


def test_two_ways_of_a_row_live_in_two_processes():
    row = table.Row("Title", process_ids, sizes={}, quick={}, against="it", shows="{}")
    _, ours, _, other, *_ = table.compare(row)
    assert len({ours.split()[-1], other.split()[-1], str(os.getpid())}) == 3


@contextmanager
def process_ids():
    yield os.getpid, os.getpid


def test_a_slope_is_the_power_of_growth():
    assert log_log_slope([10, 20, 80], [3 * n**1.5 for n in (10, 20, 80)]) == pytest.approx(1.5)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_explains_its_flags(topic, capsys):
    with pytest.raises(SystemExit):
        main([topic, "--help"])
    assert f"usage: python -m benchmarks {topic}" in capsys.readouterr().out


def test_the_table_at_a_large_size_has_a_row_for_every_task(monkeypatch, capsys):
    monkeypatch.setattr(large, "in_own_process", lambda function, *given: function(*given))
    main(["large", "--images", "90", "--features", "6", "--classes", "5"])
    rows = table_rows(capsys.readouterr().out)[2:]
    assert [cells[0] for cells in rows] == list(large.TASKS)
    assert all("MiB" in cells[3] for cells in rows)
