"""Compile the stages of a config for TPUs that need not be there."""
