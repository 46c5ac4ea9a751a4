"""From dense features to a few, and to what every class makes of them: `qpm/`, `glm/` or `parts/` choose."""
