"""Settings of every run as frozen records, the shipped .toml files, and how they are read."""
