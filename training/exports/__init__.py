"""A finished model as files that other programs run, each opened again in a fresh process and compared first."""
