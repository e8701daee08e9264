"""Between napari and files: readers, writers, samples, and where a layer lies."""
