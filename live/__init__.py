"""A local web page for a finished model: give it a photo, see why it is classified so, and what would change that."""
