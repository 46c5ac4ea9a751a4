"""Calibrated prediction sets: the hierarchy of a prediction and the softmax baselines."""

from conformal.scores import METHODS
from conformal.scores.aps import aps
from conformal.scores.hierarchical import HierarchicalPredictor
from conformal.scores.raps import raps
from conformal.scores.thr import thr
from conformal.split import calibration_split

__all__ = ["METHODS", "HierarchicalPredictor", "aps", "calibration_split", "raps", "thr"]
