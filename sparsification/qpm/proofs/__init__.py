"""Upper bounds on every selection, and proven optima of small problems."""
