"""Products that recommend."""
