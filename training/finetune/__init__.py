"""A model and a few mended masks become a better model, with proof."""
