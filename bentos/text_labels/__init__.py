"""Texts in, one probability per label out."""
