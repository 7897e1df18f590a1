"""What every room uses: storage, configs, stages, processes, statistics."""
