"""benchmarks/movl.md from benchmarks/movl.csv; filled in below."""

from pathlib import Path


def write_table(csv_path: Path, runs: Path) -> None:
    """Written with the first results."""
