"""The Planes panel: one scanner position in every series of a study."""
