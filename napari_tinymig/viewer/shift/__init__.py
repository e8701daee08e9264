"""The Domain shift panel: one image or a whole set against what a model knows."""
