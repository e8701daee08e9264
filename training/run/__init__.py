"""The loop every run shares, and the runs `train` and `evaluate`."""
