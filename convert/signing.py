"""Keys and signatures: Ed25519 over the bytes of `manifest.json`, by PyNaCl."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from nacl.encoding import RawEncoder
from nacl.signing import SigningKey

from device.errors import BadDataError, MissingInputError, UsageError
from device.manifest import MANIFEST, SIGNATURE
from device.package import load


def keygen(path: Path) -> str:
    """Write a new secret key to `path` (base64, for its owner only); return the public key in base64."""
    secret = SigningKey.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise MissingInputError(f"{path}: can't be written ({error.strerror})") from None
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(bytes(secret)) + b"\n")
    return base64.b64encode(bytes(secret.verify_key)).decode()


def sign(package: Path, key: Path) -> str:
    """Write `manifest.sig`; return the public key. A package that does not load is not signed."""
    secret = _secret(key)
    public = base64.b64encode(bytes(secret.verify_key)).decode()
    load(package)
    signature = secret.sign((package / MANIFEST).read_bytes(), encoder=RawEncoder).signature
    fresh = package.parent / f".{package.name}.{SIGNATURE}.{os.getpid()}"
    fresh.write_bytes(signature)
    fresh.replace(package / SIGNATURE)
    load(package, public)
    return public


def _secret(path: Path) -> SigningKey:
    try:
        return SigningKey(base64.b64decode(path.read_bytes().strip(), validate=True))
    except FileNotFoundError:
        raise MissingInputError(f"{path} is not there; `python -m convert keygen {path}` makes a key") from None
    except (ValueError, TypeError, OSError):
        raise BadDataError(f"{path} is no signing key of `python -m convert keygen`") from None
