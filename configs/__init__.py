"""One file is one system."""
