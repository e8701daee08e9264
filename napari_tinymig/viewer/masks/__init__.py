"""Masks in Labels layers kept safe: strokes on disk, locked edits, sparse canvases, two masks compared."""
