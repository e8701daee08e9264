"""One scan in, one Prediction out."""
