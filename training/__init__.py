"""Training: students, teachers, losses, runs. Installed as napari_tinymig.training; torch lives here."""

import warnings

# timm decorates a network with torch.jit.interface when it is imported; users of the command line cannot act on that.
warnings.filterwarnings("ignore", message=r".*torch\.jit\.interface", category=FutureWarning)
