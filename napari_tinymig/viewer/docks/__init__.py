"""Panels as tabs of one dock: joining them, calling one to the front."""
