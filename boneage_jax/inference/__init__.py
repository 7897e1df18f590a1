"""A new radiograph to an age, an interval and flags."""
