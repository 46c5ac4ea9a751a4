"""Calibrated prediction sets: the hierarchy of a prediction and the softmax baselines."""

from conformal.predictor import HierarchicalPredictor, aps, raps, thr

__all__ = ["HierarchicalPredictor", "aps", "raps", "thr"]
