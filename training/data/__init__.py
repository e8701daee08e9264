"""Annotated folders become arrays in memory, split by case."""
