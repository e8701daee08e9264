"""Mended masks that teach: the set, its checks, its journal and the folders of its runs."""
