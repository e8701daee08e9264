"""The engine: reading, placing, predicting, measuring, writing. numpy and onnxruntime; no torch, no Qt, no napari."""
