"""Servers of predictions."""
