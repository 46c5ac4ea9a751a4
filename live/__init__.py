"""A local web page on a finished model: give it a photo, see why it is classified so, and what would change that."""
