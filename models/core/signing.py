"""Keys and signatures of artifact folders: EC P-256, by model-signing, offline.

Belongs here: making the key pair once, signing a folder, checking a signature.
Does not belong here: what a folder may hold (``artifact``), who may hold the key.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

#: The signature's name inside the folder; the one file it does not cover.
SIGNATURE = "model.sig"
PRIVATE_KEY, PUBLIC_KEY = "signing.pem", "signing.pub.pem"


class SignatureError(Exception):
    """A folder whose signature does not hold, in model-signing's words."""


def ensure_keypair(folder: Path) -> tuple[Path, Path]:
    """The signing key pair of this installation; made when there is none.

    Safe under a race and a crash: whoever links the private key first wins, and the public key is
    always derived from the private key that lies there.

    Args:
        folder: Where the keys lie; made when missing, readable by the owner only.

    Returns:
        Paths of the private key (PKCS#8 PEM, mode 0600) and of the public key (PEM).
    """
    private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    if private.exists() and public.exists():
        return private, public
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not private.exists():
        made = _written_aside(folder, _new_private_key())
        with suppress(FileExistsError):  # another process was first: its key is the key
            os.link(made, private)
        made.unlink()
    derived = _written_aside(folder, _public_key_of(private.read_bytes()))
    derived.chmod(0o644)
    derived.replace(public)
    return private, public


def sign(folder: Path, private_key: Path) -> None:
    """Sign every file of a folder; the signature is written last and in one step.

    Args:
        folder: The folder; a signature that lies there is replaced.
        private_key: PEM file of an EC key on P-256, P-384 or P-521.
    """
    from model_signing import signing

    signature = folder / SIGNATURE
    signature.unlink(missing_ok=True)
    config = signing.Config().use_elliptic_key_signer(private_key=private_key)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".signature-") as aside:
        made = Path(aside) / SIGNATURE
        config.set_hashing_config(_everything_else()).sign(folder, made)
        _sync(made)
        made.replace(signature)


def check_signature(folder: Path, public_key: Path) -> None:
    """Check that a folder is exactly what was signed.

    Args:
        folder: A folder with a signature in it.
        public_key: PEM file of the public key.

    Raises:
        SignatureError: Another key signed it, the signature was changed, or a file was changed,
            added or removed.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        config.set_hashing_config(_everything_else())
        config.verify(folder, folder / SIGNATURE)
    except InvalidSignature as error:
        raise SignatureError("the signature was not made with this key") from error
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        # what a malformed bundle, key or folder raises, besides a plain mismatch
        raise SignatureError(f"{type(error).__name__}: {error}") from error


def _everything_else() -> Any:
    """Hash every file but the signature; model-signing would leave out git's files as well."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[Path(SIGNATURE)], ignore_git_paths=False)


def _new_private_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_key_of(private_key: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(private_key, password=None)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _written_aside(folder: Path, content: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".")  # mode 0600 from the start
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    _sync(Path(name))
    return Path(name)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
