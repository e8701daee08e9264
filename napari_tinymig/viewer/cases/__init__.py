"""Cases: an image and everything that belongs to it, shown, saved and gone through together."""
