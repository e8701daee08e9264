"""Drawn images, because no patient's image may be shipped."""
