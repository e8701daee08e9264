"""The panels: one file per panel, one visual language (`style`), one way of working in the background (`work`)."""
