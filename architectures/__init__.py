"""The network: backbones that return feature maps, the interpretable head, finished models."""

import configs  # noqa: F401  first: while torch is imported, which takes seconds, Ctrl-C gives one line
