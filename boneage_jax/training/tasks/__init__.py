"""What nets are trained for and judged by."""
