"""The face in napari: the only place with Qt."""
