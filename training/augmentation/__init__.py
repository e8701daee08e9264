"""Single-domain augmentation, batched in torch."""
