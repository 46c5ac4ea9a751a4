"""What a model reaches and how far its explanations can be trusted: metrics, tables over runs, plots."""
