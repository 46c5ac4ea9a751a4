"""Explanatory figures and pages: heatmaps, class comparisons, trees, reports."""
