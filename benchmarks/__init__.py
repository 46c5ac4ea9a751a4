"""What the costly steps take, beside straightforward ways to do the same: `python -m benchmarks` (RESULTS.md)."""

import configs  # noqa: F401  before numpy, which may be missing: that is one line from here on
