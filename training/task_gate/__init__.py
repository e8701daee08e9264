"""The tiny network behind `--task auto`, trained in a minute."""
