"""From a feature map to outputs."""
