"""NeuMF, LightGCN, SASRec and what they draw their samples from."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from models.contracts.learner import Catalogue, FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking import lightgcn, neumf, sasrec
from models.core.ranking.lightgcn import LightGcn, LightGcnParams, LightGcnTask, adjacency
from models.core.ranking.neumf import Neumf, NeumfParams
from models.core.ranking.sampling import Pairs, Validation, hold_out
from models.core.ranking.sasrec import Sasrec, SasrecParams, SasrecTask, padded, windows
from models.core.ranking.scorers import fit_scorer, load_scorer
from tests.unit.trainer_tasks import one_thread

HALF = 12  # items, and users, of each community


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def interactions(users: list[int], items: list[int], **values: object) -> Interactions:
    size = max(items) + 1
    return Interactions(
        users=np.array(users), items=np.array(items), strengths=np.ones(len(users)),
        liked=np.ones(len(users), bool), times=np.arange(len(users), dtype=float),
        user_ids=tuple(f"u{n}" for n in range(max(users) + 1)),
        catalogue=Catalogue(tuple(f"i{n}" for n in range(size)), {}),
        friends=np.empty((0, 2), np.int64),
    )._replace(**values)  # fmt: skip


def communities() -> Interactions:
    """Users of the first half had 7 of the first 12 items each, the others of the last 12."""
    draw = np.random.default_rng(5)
    users, items = [], []
    for user in range(2 * HALF):
        users += [user] * 7
        items += (draw.permutation(HALF)[:7] + HALF * (user >= HALF)).tolist()
    return interactions(users, items)


TRIALS = {
    "neumf": {"factors": 8, "layers": 2, "batch_size": 60, "learning_rate": 0.02, "max_epochs": 25},
    "lightgcn": {"factors": 8, "layers": 2, "batch_size": 64, "learning_rate": 0.05,
                 "max_epochs": 15},
    "sasrec": {"width": 16, "layers": 1, "longest": 6, "negatives": 12, "batch_size": 8,
               "dropout": 0.1, "learning_rate": 0.01, "max_epochs": 25},
}  # fmt: skip


@pytest.mark.parametrize("kind", TRIALS)
def test_own_community_comes_first_and_survives_saving(kind: str, tmp_path: Path) -> None:
    rows, lines = communities(), []
    params = {"model": kind, "schedule": "constant", "patience": 100, **TRIALS[kind]}
    context = FitContext(curve=lambda name, *_: lines.append(name))
    scorer = fit_scorer(Trial(name="t", params=params, seed=3), rows, context)
    users = np.arange(2 * HALF)
    histories = [rows.items[rows.users == user] for user in users]
    scores = scorer.score(users, histories)
    assert scores.shape == (2 * HALF, 2 * HALF)
    for user, row in zip(users, scores, strict=True):
        unseen = np.setdiff1d(np.arange(2 * HALF), histories[user])
        own = unseen[np.argsort(-row[unseen])][:5] >= HALF
        assert (own == (user >= HALF)).all()
    assert any("validation" in line for line in lines)
    scorer.save(tmp_path)
    loaded = load_scorer(tmp_path)
    assert (loaded.kind, loaded.reads, loaded.liked_only) == (kind, scorer.reads, False)
    np.testing.assert_array_equal(loaded.score(users, histories), scores)
    alone = loaded.score(users[3:4], histories[3:4])
    np.testing.assert_allclose(alone[0], scores[3], rtol=1e-4, atol=1e-5)


def test_a_wrong_parameter_is_named() -> None:
    trial = Trial(name="t", params={"model": "lightgcn", "factor": 3})
    with pytest.raises(ValueError, match="factor"):
        fit_scorer(trial, communities(), FitContext())


GRAPH = sp.csr_array(np.array([[1, 1, 0], [0, 1, 0]], np.float32))  # u0: i0 i1; u1: i1; i2 alone


def test_adjacency_by_hand() -> None:
    """Degrees u0 2, u1 1, i0 1, i1 2, i2 0."""
    found = adjacency(GRAPH, np.empty((0, 2), np.int64), 0.0).toarray()
    half, root = 1 / 2, 1 / math.sqrt(2)
    expected = np.zeros((5, 5))
    expected[0, 2] = expected[2, 0] = root  # u0 i0: 1 / sqrt(2 * 1)
    expected[0, 3] = expected[3, 0] = half  # u0 i1: 1 / sqrt(2 * 2)
    expected[1, 3] = expected[3, 1] = root  # u1 i1: 1 / sqrt(1 * 2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_friends_are_edges_once_whichever_way_they_are_told() -> None:
    """With weight 3 the degrees are u0 5, u1 4; the users are joined by 3 / sqrt(20)."""
    friends = np.array([[0, 1], [1, 0], [1, 1]])
    found = adjacency(GRAPH, friends, 3.0).toarray()
    assert found[0, 1] == found[1, 0] == pytest.approx(3 / math.sqrt(20))
    assert found[1, 1] == 0
    assert found[1, 3] == pytest.approx(1 / math.sqrt(4 * 2))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_propagation_equals_the_dense_products(layers: int) -> None:
    graph = adjacency(GRAPH, np.empty((0, 2), np.int64), 0.0)
    module = LightGcn(graph, LightGcnParams(factors=4, layers=layers))
    dense = torch.from_numpy(graph.toarray()).double()
    first = module.first.detach().double()
    powers = [torch.linalg.matrix_power(dense, n) @ first for n in range(layers + 1)]
    expected = torch.stack(powers).mean(0)
    torch.testing.assert_close(module.whole().double(), expected, rtol=1e-5, atol=1e-6)
    nodes = torch.tensor([0, 3, 4])
    torch.testing.assert_close(module.at(nodes).double(), expected[nodes], rtol=1e-5, atol=1e-6)


def test_gradient_of_a_batch_equals_that_of_dense_products() -> None:
    graph = adjacency(GRAPH, np.empty((0, 2), np.int64), 0.0)
    module = LightGcn(graph, LightGcnParams(factors=4, layers=3))
    held = Validation(np.array([0]), np.array([0]), (np.array([1]),))
    task = LightGcnTask(module, Pairs.of(GRAPH), held, batch_size=2, penalty=0.1)
    batch = torch.tensor([[0, 1], [2, 3], [4, 4]])
    task.loss(batch).backward()
    first = module.first.detach().clone().requires_grad_()
    dense = torch.from_numpy(graph.toarray())
    users, had, drawn = (sum(torch.linalg.matrix_power(dense, n) @ first for n in range(4)) / 4)[
        batch
    ]
    loss = torch.log1p(torch.exp((users * drawn).sum(1) - (users * had).sum(1))).mean()
    (loss + 0.05 * (first[batch] ** 2).sum() / 2).backward()
    torch.testing.assert_close(module.first.grad, first.grad, rtol=1e-5, atol=1e-7)


def test_negatives_are_never_what_a_user_had_and_all_else_alike() -> None:
    matrix = sp.csr_array(np.array([[1, 1, 0, 0, 0], [0, 0, 0, 1, 1]], np.float32))
    pairs = Pairs.of(matrix)
    drawn = pairs.negatives(torch.tensor([0, 1]), 6000, torch.Generator().manual_seed(0))
    for row, free in zip(drawn, ([2, 3, 4], [0, 1, 2]), strict=True):
        values, counts = torch.unique(row, return_counts=True)
        assert values.tolist() == free
        assert (counts - 2000).abs().max() < 150  # 4 standard deviations


def test_an_epoch_holds_each_pair_once() -> None:
    matrix = sp.csr_array((np.random.default_rng(0).random((9, 7)) < 0.4).astype(np.float32))
    batches = list(Pairs.of(matrix).shuffled(2, 4, torch.Generator().manual_seed(1)))
    told = sorted((u, i) for users, items in batches for u, i in zip(
        users.tolist(), items[:, 0].tolist(), strict=True))  # fmt: skip
    assert told == sorted(zip(*map(np.ndarray.tolist, matrix.nonzero()), strict=True))
    assert [len(users) for users, _ in batches[:-1]] == [4] * (len(batches) - 1)


def test_users_are_drawn_alike_however_much_they_had() -> None:
    matrix = sp.csr_array(np.array([[1] * 9, [0] * 9, [0] * 8 + [1]], np.float32))
    pairs = Pairs.of(matrix)
    users, items = pairs.by_user(8000, torch.Generator().manual_seed(0))
    assert pairs.had(users, items).all()
    assert torch.bincount(users).tolist() == pytest.approx([4000, 0, 4000], abs=200)
    assert torch.bincount(items[users == 0]).tolist() == pytest.approx([444] * 9, abs=90)


def test_held_out_is_the_newest_and_no_row_of_it_teaches() -> None:
    """User 0 had item 2 last and once before; user 1 has too few items to lose one."""
    rows = interactions([0, 0, 1, 0, 0, 1, 0], [2, 0, 1, 1, 3, 0, 2])
    train, kept, held = hold_out(rows, liked_only=False, users=10, seed=0)
    assert (held.users.tolist(), held.items.tolist()) == ([0], [2])
    assert [history.tolist() for history in held.histories] == [[0, 1, 3]]
    assert kept.tolist() == [False, True, True, True, True, True, False]
    assert train.toarray().tolist() == [[1, 1, 0, 1], [1, 1, 0, 0]]


def test_held_out_at_random_is_any_item_of_a_user() -> None:
    rows = interactions([0, 0, 0, 0], [2, 0, 1, 3])
    found = []
    for seed in range(200):
        train, kept, held = hold_out(rows, liked_only=False, users=1, seed=seed, held="random")
        found.append(int(held.items[0]))
        assert sorted([*held.histories[0].tolist(), found[-1]]) == [0, 1, 2, 3]
        assert rows.items[~kept].tolist() == [found[-1]]
        assert train.sum() == 3
    assert np.bincount(found).tolist() == pytest.approx([50] * 4, abs=25)  # 4 standard deviations


def test_validation_ndcg_by_hand() -> None:
    """Ranks 0 (what outscores it was had), 1, and 2: of equal scores it is the last."""
    held = Validation(
        np.arange(3), np.array([1, 2, 0]), (np.array([0]), np.array([0]), np.array([3]))
    )
    scores = torch.tensor([[9.0, 5.0, 1.0, 1.0], [9.0, 6.0, 5.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    found = held.ndcg(lambda users, _: scores[users])
    assert found == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(4)) / 3)


def test_neumf_scores_the_catalogue_as_its_pairs() -> None:
    torch.manual_seed(0)
    module = Neumf((4, 6), NeumfParams(factors=4, layers=3))
    users = torch.tensor([2, 0])
    pairs = module(users, torch.arange(6).expand(2, 6))
    torch.testing.assert_close(module.catalogue(users), pairs, rtol=1e-5, atol=1e-6)


def test_neumf_starts_from_half_of_each_part() -> None:
    torch.manual_seed(0)
    params = NeumfParams(factors=4, layers=2)
    gmf, mlp, both = Neumf((4, 6), params, ("gmf",)), Neumf((4, 6), params, ("mlp",)), None
    both = Neumf((4, 6), params)
    both.take(gmf)
    both.take(mlp)
    users = torch.arange(4)
    expected = (gmf.catalogue(users) + mlp.catalogue(users)) / 2
    torch.testing.assert_close(both.catalogue(users), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_lightgcn_says_that_it_wants_fp32(precision: str) -> None:
    trial = Trial(name="t", params={"model": "lightgcn", "precision": precision})
    with pytest.raises(ValueError, match=f"'t': .* no {precision}; leave precision out"):
        lightgcn.fit(trial, communities(), FitContext())


def test_neumf_goes_on_in_the_part_it_was_in(tmp_path: Path) -> None:
    params = {"model": "neumf", **TRIALS["neumf"], "pretrain": True, "max_epochs": 2}
    trial, users = Trial(name="t", params=params), np.arange(4)
    whole = neumf.fit(trial, communities(), FitContext(folder=tmp_path)).score(users, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gmf", "mlp", "neumf"]
    again = neumf.fit(trial, communities(), FitContext(folder=tmp_path)).score(users, [])
    np.testing.assert_array_equal(again, whole)


def test_windows_cut_back_from_the_newest() -> None:
    found = [piece.tolist() for piece in windows([np.arange(8), np.arange(1)], 3)]
    assert found == [[4, 5, 6, 7], [1, 2, 3, 4], [0, 1]]
    assert [t for piece in found for t in piece[1:]] == [5, 6, 7, 2, 3, 4, 1]


def test_a_place_is_counted_from_the_newest_and_sees_no_later_one() -> None:
    torch.manual_seed(0)
    params = SasrecParams(width=8, longest=5, dropout=0.0)
    module = Sasrec(9, params).eval()
    table, lengths = padded([np.array([3, 1, 4]), np.array([3, 1, 4, 2, 7])], 9)
    short, long = module(table, lengths)
    alone = module(torch.tensor([[3, 1, 4]]), torch.tensor([3]))[0]
    torch.testing.assert_close(short[:3], alone, rtol=1e-4, atol=1e-6)
    changed = module(torch.tensor([[3, 1, 4, 0, 0]]), torch.tensor([5]))[0]
    torch.testing.assert_close(changed[:3], long[:3], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(changed[3:], long[3:], atol=1e-3)
    older = module.catalogue([np.array([8, 3, 1, 4, 2, 7]), np.array([3, 1, 4, 2, 7])])
    torch.testing.assert_close(older[0], older[1], rtol=1e-4, atol=1e-6)  # only the newest 5 count


@pytest.mark.parametrize("loss", ["softmax", "gbce"])
def test_sasrec_loss_leaves_out_the_end_and_negatives_that_are_right(loss: str) -> None:
    torch.manual_seed(0)
    params = SasrecParams(width=8, longest=4, dropout=0.0, loss=loss, negatives=3)
    module = Sasrec(6, params)
    held = Validation(np.array([0]), np.array([0]), (np.array([1]),))
    table, lengths = padded([np.array([0, 1, 2]), np.array([3, 4])], 6)
    task = SasrecTask(module, table, lengths, held, params, batch_size=2)
    drawn = torch.tensor([1, 5, 5])
    terms = []
    for history, item in (([0], 1), ([0, 1], 2), ([3], 4)):
        # the length in the window counts the places, hence 2 places for the first user
        places = {0: 2, 3: 1}[history[0]]
        expected = module(torch.tensor([history]), torch.tensor([places]))[0, -1]
        scores = module.items.weight @ expected
        wrong = [scores[d] for d in drawn.tolist() if d != item]
        terms.append((scores[item], wrong))
    if loss == "softmax":
        by_hand = [-p + torch.logsumexp(torch.stack([p, *w]), 0) for p, w in terms]
    else:
        power = (3 / 5) * (0.75 * (1 - 5 / 3) + 5 / 3)
        sigmoid = torch.nn.functional.logsigmoid
        by_hand = [(-power * sigmoid(p) - sum(sigmoid(-x) for x in w)) / 4 for p, w in terms]
    value = task.loss((table, lengths, drawn))
    assert value.item() == pytest.approx((sum(by_hand) / 3).item(), rel=1e-4)
    gradient, *_ = torch.autograd.grad(value, [module.items.weight])
    expected, *_ = torch.autograd.grad(sum(by_hand) / 3, [module.items.weight])
    expected[6] = 0.0
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    assert torch.isfinite(gradient).all()


def test_kinds_are_the_modules_names() -> None:
    assert {neumf.KIND, lightgcn.KIND, sasrec.KIND} == set(TRIALS)
