"""How good a model is and how far its explanations can be trusted: metrics, tables over runs, plots."""
