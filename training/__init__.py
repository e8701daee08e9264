"""Training: students, teachers, losses, runs. Installed as napari_tinymig.training; torch lives here."""
