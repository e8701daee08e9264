"""Model files, their names and descent; the bundled models lie here too."""
