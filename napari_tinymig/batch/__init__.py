"""A folder segmented, resumable: masks, table, overlays."""
