"""On what a run computes: devices, and several processes for one run."""
