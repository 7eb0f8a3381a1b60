"""A user or a history in, the best items out."""
