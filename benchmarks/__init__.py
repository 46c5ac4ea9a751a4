"""What the costly steps take, beside straightforward ways to do the same: `python -m benchmarks` (RESULTS.md)."""
