"""Calibrated prediction sets: the hierarchy of a prediction and the softmax baselines."""

from conformal.coverage_law import coverage_law
from conformal.predictor import HierarchicalPredictor, aps, raps, thr
from conformal.split import calibration_split

__all__ = ["HierarchicalPredictor", "aps", "calibration_split", "coverage_law", "raps", "thr"]
