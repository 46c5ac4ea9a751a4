"""What the costly steps take, beside straightforward ways to do the same: `python -m benchmarks` (RESULTS.md)."""

import configs  # noqa: F401  first, so that a missing numpy is told in one line
