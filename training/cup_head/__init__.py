"""The second opinion on the cup's size: a small network on unwrapped discs, trained in minutes."""
