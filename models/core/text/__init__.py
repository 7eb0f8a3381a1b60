"""Texts: what describes them, models over them, and what is done to them to try the models."""
