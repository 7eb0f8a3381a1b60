"""Attention of SASRec, exported: the weights that the network really used."""

import numpy as np
import pytest
import torch

from models.core.ranking.sasrec import Sasrec, SasrecParams, SasrecScorer
from tests.unit.trainer_tasks import one_thread

PARAMS = SasrecParams(width=8, heads=2, layers=2, longest=4)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Sasrec(10, PARAMS).eval()


def test_the_weights_are_those_of_the_block(module):
    block, places = (
        module.blocks[0],
        torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1)),
    )
    with torch.no_grad():
        weights = block.attention(places)
        told = block.read(block.before_attention(places))[..., 16:]  # the last third: values
        heads = [weights[:, h] @ told[..., 4 * h : 4 * h + 4] for h in (0, 1)]
        after = places + block.write(torch.cat(heads, dim=2))
        expected = after + block.network(block.before_network(after))
        torch.testing.assert_close(block(places), expected, atol=1e-5, rtol=1e-5)


def test_a_place_sees_itself_and_what_was_before(module):
    found = module.attention(np.array([7, 1, 2])).detach()
    assert found.shape == (2, 2, 3, 3)
    assert not found.triu(1).any()
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 2, 3))


def test_queries_of_nothing_see_all_alike_and_the_history_is_cut(module):
    with torch.no_grad():
        for block in module.blocks:
            block.read.weight[:8], block.read.bias[:8] = 0.0, 0.0
    scorer = SasrecScorer(module, PARAMS, 10)
    assert scorer.attention(np.array([5])) == pytest.approx(np.ones((2, 2, 1)))
    found = scorer.attention(np.array([9, 8, 7, 6, 5]))
    assert found == pytest.approx(np.full((2, 2, 4), 0.25))
