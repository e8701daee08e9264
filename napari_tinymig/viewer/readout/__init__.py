"""The Read-out panel: clinical numbers of a mask while it is painted."""
