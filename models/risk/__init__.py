"""Risk: probabilities that something will go wrong."""
