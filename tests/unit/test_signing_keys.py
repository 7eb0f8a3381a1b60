"""The keys that artifacts are signed with: made once, the private one for its owner alone."""

import stat
from concurrent.futures import ThreadPoolExecutor

from models.core import signing


def test_keys_are_made_once_and_the_private_one_is_private(tmp_path):
    private, public = signing.ensure_keypair(tmp_path / "keys")
    before = private.read_bytes(), public.read_bytes()
    assert signing.ensure_keypair(tmp_path / "keys") == (private, public)
    assert (private.read_bytes(), public.read_bytes()) == before
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert len(list((tmp_path / "keys").iterdir())) == 2


def test_a_crash_between_the_two_keys_is_mended(tmp_path):
    private, public = signing.ensure_keypair(tmp_path)
    expected, kept = public.read_bytes(), private.read_bytes()
    public.unlink()
    signing.ensure_keypair(tmp_path)
    assert (public.read_bytes(), private.read_bytes()) == (expected, kept)


def test_a_race_for_the_keys_has_one_winner(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: signing.ensure_keypair(tmp_path / "keys"), range(16)))
    assert len(set(made)) == 1
    private, public = made[0]
    assert signing._public_key_of(private.read_bytes()) == public.read_bytes()
    assert len(list(private.parent.iterdir())) == 2
