"""From all dense features to a few, with weights for every class: chosen by `qpm/`, `glm/` or `parts/`."""
