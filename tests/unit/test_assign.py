"""Who answers: shares, stickiness, and the order of header, override, flag and hash."""

from __future__ import annotations

import math

import pytest

from gateway.assign import Asking, assign, is_on, running, unit_of
from gateway.errors import Refused
from models.contracts.routing import Flag, Member, Override, Placement, ProductRoutes

PRODUCT, KEYS = "risk/sync_conflict", 20_000


def routes(weight: float = 0.25, **changed: object) -> ProductRoutes:
    members = {
        name: Member(version=name, semver="", url=f"http://{name}", artifact=None)
        for name in ("v1", "v2", "v3")
    }
    placement = Placement(rollout_id="r1", kind="canary", challenger="v2", weight=weight,
                          mirror=1.0, sticky="unit")  # fmt: skip
    fields = {"product": PRODUCT, "champion": "v1", "previous": None, "members": members,
              "placement": placement}  # fmt: skip
    return ProductRoutes(**(fields | changed))


def placed(**changed: object) -> Placement:
    found = routes().placement
    assert found is not None
    return found.model_copy(update=changed)


def challenged(of: ProductRoutes, keys: int = KEYS) -> set[int]:
    asked = (Asking("acme", str(number), "k") for number in range(keys))
    return {n for n, one in enumerate(asked) if assign(of, (), one).variant == "challenger"}


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
def test_the_share_of_keys_is_the_weight(weight: float):
    deviation = math.sqrt(weight * (1 - weight) / KEYS)
    assert abs(len(challenged(routes(weight))) / KEYS - weight) < 4.5 * deviation


def test_raising_the_weight_moves_nobody_back():
    few, more = challenged(routes(0.1), 2_000), challenged(routes(0.4), 2_000)
    assert few < more


def test_two_rollouts_divide_the_keys_independently():
    other = routes(placement=placed(rollout_id="r2", weight=0.5))
    both = challenged(routes(0.5)) & challenged(other)
    assert abs(len(both) / KEYS - 0.25) < 4.5 * math.sqrt(0.25 * 0.75 / KEYS)


def test_weights_of_none_and_of_all():
    assert not challenged(routes(0.0), 500)
    assert len(challenged(routes(1.0), 500)) == 500


@pytest.mark.parametrize(
    ("sticky", "same", "other"),
    [("unit", Asking("acme", "u", "k2"), Asking("acme", "w", "k")),
     ("tenant", Asking("acme", "w", "k2"), Asking("globex", "u", "k")),
     ("key", Asking("globex", "w", "k"), Asking("acme", "u", "k2"))],
)  # fmt: skip
def test_what_stays_together(sticky: str, same: Asking, other: Asking):
    of = routes(placement=placed(sticky=sticky))
    first = assign(of, (), Asking("acme", "u", "k")).key
    assert assign(of, (), same).key == first != assign(of, (), other).key
    assert len(first) == 16


def test_who_names_a_release_gets_it_before_everything_else():
    overridden = routes(overrides=(Override(tenant="acme", version="v1"),))
    off = (Flag(name="serve", scope="*", on=False),)
    got = assign(overridden, off, Asking("acme", "u", "k", release="v3"))
    assert (got.version, got.variant, got.drawn, got.copy_to) == ("v3", None, False, None)
    with pytest.raises(Refused, match="does not run here") as caught:
        assign(overridden, (), Asking("acme", "u", "k", release="v9"))
    assert caught.value.status == 404


def test_an_override_comes_before_flags_and_hash_and_is_not_drawn():
    overridden = routes(0.0, overrides=(Override(tenant="acme", version="v2"),))
    blocked = (Flag(name="serve", scope=f"{PRODUCT}@v2", on=False),)
    got = assign(overridden, blocked, Asking("acme", "u", "k"))
    assert (got.version, got.variant, got.drawn) == ("v2", "challenger", False)
    assert assign(overridden, (), Asking("globex", "u", "k")).version == "v1"
    gone = routes(overrides=(Override(tenant="acme", version="v9"),))
    assert assign(gone, (), Asking("acme", "u", "k")).drawn


def test_flags_switch_a_product_a_release_and_copies_off():
    asked, off = Asking("acme", "u", "k"), {"on": False}
    with pytest.raises(Refused, match="switched off") as caught:
        assign(routes(), (Flag(name="serve", scope=PRODUCT, **off),), asked)
    assert caught.value.status == 503
    held = assign(routes(1.0), (Flag(name="serve", scope=f"{PRODUCT}@v2", **off),), asked)
    assert (held.version, held.variant, held.drawn) == ("v1", "champion", False)
    assert assign(routes(1.0), (), asked).copy_to == "v1"
    assert assign(routes(1.0), (Flag(name="mirror", scope="*", **off),), asked).copy_to is None


def test_the_most_specific_flag_counts():
    flags = (
        Flag(name="explain", scope="*", on=False),
        Flag(name="explain", scope=PRODUCT, on=True),
        Flag(name="explain", scope=PRODUCT, on=False, tenants=("acme",)),
    )
    told = {tenant: is_on(flags, "explain", PRODUCT, "v1", tenant) for tenant in ("acme", "globex")}
    assert told == {"acme": False, "globex": True}
    assert not is_on(flags, "explain", "another/product", None, "globex")
    assert is_on(flags, "cache", PRODUCT, "v1", "acme")


def test_a_shadow_sees_every_request_and_answers_none():
    of = routes(placement=placed(kind="shadow", weight=0.0))
    got = assign(of, (), Asking("acme", "u", "k"))
    assert (got.version, got.variant, got.copy_to, got.drawn) == ("v1", "champion", "v2", True)
    half = routes(placement=placed(kind="shadow", weight=0.0, mirror=0.5))
    asked = [assign(half, (), Asking("acme", str(n), "k")).copy_to for n in range(4_000)]
    assert abs(asked.count("v2") / 4_000 - 0.5) < 4.5 * 0.5 / math.sqrt(4_000)


def test_a_canary_is_copied_where_the_challenger_answers():
    asked = [assign(routes(), (), Asking("acme", str(n), "k")) for n in range(200)]
    assert {(one.variant, one.copy_to) for one in asked} == {
        ("champion", None), ("challenger", "v1")
    }  # fmt: skip


def test_without_both_releases_there_is_no_rollout():
    alone = routes().model_copy(update={"members": {"v1": routes().members["v1"]}})
    assert running(alone) is None
    got = assign(alone, (), Asking("acme", "u", "k"))
    assert (got.version, got.drawn, got.key) == ("v1", False, "")
    assert assign(routes(champion=None), (), Asking("acme", "u", "k")).version is None


def test_the_unit_is_the_header_then_the_user_then_the_event_then_the_caller():
    row = {"user": "anna", "event_id": "e1"}
    assert unit_of(b"sticky", row, "k") == "sticky"
    assert unit_of(b"", row, "k") == "anna"
    assert unit_of(b"", {"event_id": "e1"}, "k") == "e1"
    assert unit_of(b"", {"user": 0}, "k") == "0"
    assert unit_of(b"", {}, "k") == "k"
