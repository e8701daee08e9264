"""Students, teachers, baselines and their weights; a trained student becomes a file."""
