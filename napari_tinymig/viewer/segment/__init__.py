"""The Segment panel: one image, one button, one mask."""
