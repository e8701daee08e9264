"""Pixels to logits to labels: input, ONNX Runtime, several looks, the decision on the scan's own grid."""
