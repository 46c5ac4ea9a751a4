"""The nonconformity scores, one file each, and the methods that results and plots compare.

A new score is a file with a `Method`, and its line in `METHODS`.
"""

from conformal.predictor import Method
from conformal.scores import aps, hierarchical, raps, thr

# In the order of tables and colours.
METHODS: tuple[Method, ...] = (hierarchical.EXACT, hierarchical.PAPER, thr.METHOD, aps.METHOD, raps.METHOD)
