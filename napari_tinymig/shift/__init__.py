"""How unlike its training images a model finds an image, why, and how far its mask can be trusted."""
