"""`python -m napari_tinymig` does what the console script `tinymig` does."""

from .cli import main

if __name__ == "__main__":
    main()
