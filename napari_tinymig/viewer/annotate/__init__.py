"""The Annotate panel: mended masks go into a set."""
