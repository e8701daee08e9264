"""The Prompt panel: clicks, scribbles and boxes on the image, and the mask follows."""
