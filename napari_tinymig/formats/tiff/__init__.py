"""TIFFs that Pillow does not decode as they are."""
