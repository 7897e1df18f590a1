"""Tables of radiographs to batches."""
