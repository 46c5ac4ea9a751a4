"""Our solver: tabu search over sets of features, with or without rules on pairs of classes."""
