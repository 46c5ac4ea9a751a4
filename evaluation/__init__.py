"""How good a model is and how far its explanations can be trusted: metrics, tables over runs, plots."""

import configs  # noqa: F401  first, so that a missing numpy is told in one line
