"""Where to look: heat maps, boxes and crops of films."""
