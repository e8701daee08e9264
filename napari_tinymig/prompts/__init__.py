"""Clicks, scribbles and boxes become a mask: one session an image, rules in code, numpy and ONNX Runtime only."""
