"""Train on one domain, test on the others; tables, plots, statistics."""
