"""Recommendation: algorithms that score a catalogue, and what turns scores into answers.

Belongs here: one module per algorithm, the recommender around them, their metrics. Does not belong
here: which of them a product tries and on what rows (its ``learner.py``), HTTP (``bentos``).
"""
