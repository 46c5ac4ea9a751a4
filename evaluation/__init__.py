"""How good a model is and how far its explanations can be trusted: metrics, tables over runs, plots."""

import configs  # noqa: F401  before numpy, which may be missing: that is one line from here on
