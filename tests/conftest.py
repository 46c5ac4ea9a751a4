"""Shared fixtures: the golden cases and the small programs with proven optima kept beside the tests."""

from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


@pytest.fixture
def golden():
    """Load a golden case by name: `golden("class_pairs_1")["in_A"]` (see tests/golden)."""
    return lambda name: dict(np.load(HERE / "golden" / f"{name}.npz", allow_pickle=False))


@pytest.fixture
def qp_instance():
    """Load a selection instance by name: `qp_instance("qpm_00")["A"]` (see tests/qp_instances)."""
    return lambda name: dict(np.load(HERE / "qp_instances" / f"{name}.npz", allow_pickle=False))
