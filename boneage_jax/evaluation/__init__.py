"""Numbers about finished runs, one file per command."""
