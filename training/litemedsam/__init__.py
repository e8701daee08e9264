"""LiteMedSAM: an image and a box in, the mask of what the box holds out; frozen, a teacher and a prompt engine."""
