"""Rows in, one probability per row out."""
