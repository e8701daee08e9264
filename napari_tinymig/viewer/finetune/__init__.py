"""The Fine-tune panel: a model and a set in, a better model with proof out."""
