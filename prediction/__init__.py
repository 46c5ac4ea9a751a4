"""Finds and reads new images, and predicts them with a finished model."""
