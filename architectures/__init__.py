"""The network: backbones that return feature maps, the interpretable head, finished models."""

import configs  # noqa: F401  before torch, which takes seconds: Ctrl-C is one line from here on
