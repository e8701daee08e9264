"""Masks as other programs leave them: codes and colours, smeared edges, segments, contours, other grids."""
