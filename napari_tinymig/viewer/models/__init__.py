"""The Models panel: the lineage tree and what can be done with a model."""
