"""A planted fault must fail exactly one check: making all of them, and saying which failed."""

import numpy as np

from models.core import splits
from models.core.checks import CHECKS, check_dataset
from tests.unit.sample_frames import DATA

KNOWN = 1_700  # rows of the last snapshot


def outcome(current, previous=None, data=DATA, **options):
    """Name of check -> result."""
    parts = splits.split(current, data.split)
    found = check_dataset(data, current, parts, previous, **options)
    assert [result.name for result in found] == list(CHECKS)
    return {result.name: result for result in found}


def failing(results):
    return {name: result.message for name, result in results.items() if not result.passed}


def only(results, name, *words):
    """Exactly this check fails, and its message has the words."""
    failed = failing(results)
    assert set(failed) == {name}, failed
    for word in words:
        assert word in failed[name], failed[name]


def shuffled(frame, rows, seed=0):
    labels = frame["label"].to_numpy().copy()
    labels[rows] = np.random.default_rng(seed).permutation(labels[rows])
    return frame.assign(label=labels)
