"""Files of pretrained weights, read into our nets."""
