"""The figures and pages that explain: heatmaps, class comparisons, trees, reports."""
