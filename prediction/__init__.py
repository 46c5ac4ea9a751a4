"""New images: found, read, and predicted by a finished model."""
