"""MoVL: visual prompt and linear probe on a frozen backbone, its baselines, and the classifier file."""
