"""All products in one process."""
