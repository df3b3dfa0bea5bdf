"""A model package: what a device must know of a network before it trusts and runs it.

A package is a directory `NAME-VERSION/` that holds `manifest.json`, `network.tflite`, `golden.npz`,
`README.md` and, where it was signed, `manifest.sig`: 64 raw bytes, Ed25519 over the bytes of `manifest.json`.
The manifest names every other file with size and SHA-256. `docs/package.md` describes each field,
`manifest.py` is the schema.

Nothing of a package is executed, unpickled or extracted. Every file is opened once, without following links,
and what was hashed is what is used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
import stat
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import ConfigError, MissingInputError
from device.manifest import FILE_BYTES, GOLDEN, MANIFEST, NETWORK, SIGNATURE, Manifest, decode_manifest, refusal

__all__ = ["Golden", "Manifest", "Package", "load", "parse_public_key", "read_file"]

KERNELS = ("xnnpack", "builtin")
_MANIFEST_BYTES = 256 * 1024
_GOLDEN_BYTES = 8 * 1024 * 1024  # unpacked: ten seconds of everything take a tenth of that
_TFLITE_MARK = b"TFL3"
_FAULTS_OF_AN_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, ValueError, TypeError, SyntaxError, EOFError,
    NotImplementedError, OSError, RuntimeError, MemoryError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Golden:
    """A short made clip and what the network must say to it; P = classes + 1: the emotions, then danger.

    `posteriors` and `wearer_posteriors` (n, P), by kernel class ("xnnpack", "builtin"), answer `samples`
    without a wearer and with the made one of `wearer_means` (F,); `tolerance` is the greatest absolute
    difference allowed. `inputs` (steps, batch, frames_per_step, V) are raw int8, real value `(raw -
    input_zero_point) * input_scale`, and `logits` their exact answers, by kernel class: they tell the bit
    class, which only warns.
    """

    samples: NDArray[np.int16]
    wearer_means: NDArray[np.float32]
    posteriors: dict[str, NDArray[np.float32]]
    wearer_posteriors: dict[str, NDArray[np.float32]]
    inputs: NDArray[np.int8]
    input_scale: float
    input_zero_point: int
    logits: dict[str, NDArray[np.float32]]
    tolerance: float


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose every byte was checked; `signed`: by the public key that was asked for."""

    manifest: Manifest
    directory: Path
    network_bytes: bytes
    golden: Golden
    signed: bool


def load(directory: Path | str, public_key: str | None = None) -> Package:
    """Read and check a package; with `public_key` (base64 or hex) it must be signed by that key.

    Raises MissingInputError where there is none, BadDataError (one line) for everything that is wrong with
    one, ConfigError for a key that is none.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise MissingInputError(f"model package {directory}: no such directory")
    raw = _read(directory, MANIFEST, _MANIFEST_BYTES)
    if public_key:
        _check_signature(directory, raw, public_key)
    manifest = decode_manifest(raw, str(directory))
    contents = _read_files(directory, manifest)
    if contents[NETWORK][4:8] != _TFLITE_MARK:
        raise refusal(directory, f"{NETWORK} is no TensorFlow Lite model; build the package again")
    golden = _read_golden(contents[GOLDEN], manifest, directory)
    return Package(manifest, directory, contents[NETWORK], golden, signed=bool(public_key))


def _read_files(directory: Path, manifest: Manifest) -> dict[str, bytes]:
    """Every listed file, checked against size and hash; a file that is not listed is refused."""
    stray = {entry.name for entry in os.scandir(directory)} - manifest.files.keys() - {MANIFEST, SIGNATURE}
    if stray:
        raise refusal(directory, f"{min(stray)} is not listed in {MANIFEST}; remove it")
    contents = {}
    for name, entry in manifest.files.items():
        data = _read(directory, name, entry.size)
        if len(data) != entry.size:
            fault = f"has {len(data)} bytes, {MANIFEST} says {entry.size}"
        elif hashlib.sha256(data).hexdigest() != entry.sha256:
            fault = f"is altered: its SHA-256 is not the one in {MANIFEST}"
        else:
            contents[name] = data
            continue
        raise refusal(directory, f"{name} {fault}; copy the package again")
    return contents


def _read(directory: Path, name: str, limit: int) -> bytes:
    """A plain file of the package, at most `limit` bytes; never through a link, never a device or a pipe."""
    try:
        handle = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise refusal(directory, f"{name} is missing") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise refusal(directory, f"{name} is a link or can't be read ({reason})") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise refusal(directory, f"{name} is no plain file")
    with os.fdopen(handle, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise refusal(directory, f"{name} has more than {limit} bytes")
    return data


def read_file(directory: Path, name: str) -> bytes:
    """A file of a package, unchecked but for its size; for whoever copies one and checks the copy."""
    return _read(directory, name, FILE_BYTES)


def parse_public_key(text: str) -> bytes:
    """The 32 bytes of an Ed25519 public key given in base64 or hex; ConfigError otherwise."""
    text = text.strip()
    is_hex = re.fullmatch(r"[0-9a-fA-F]{64}", text)
    try:
        key = bytes.fromhex(text) if is_hex else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigError("model.public_key is no Ed25519 public key: `python -m convert keygen` prints one")
    return key


def _check_signature(directory: Path, manifest: bytes, public_key: str) -> None:
    # Imported where it is used: a device without a key needs no PyNaCl at start.
    from nacl.exceptions import CryptoError
    from nacl.signing import VerifyKey

    key = parse_public_key(public_key)
    if not os.path.lexists(directory / SIGNATURE):
        raise refusal(directory, "not signed, but model.public_key is configured; install a signed package")
    signature = _read(directory, SIGNATURE, 64)
    try:
        VerifyKey(key).verify(manifest, signature)
    except (CryptoError, ValueError):
        what = f"the signature does not fit: {MANIFEST} was altered, or another key signed it"
        raise refusal(directory, what) from None


def _read_golden(data: bytes, manifest: Manifest, directory: Path) -> Golden:
    """The golden clip; an archive that would unpack to more than it may is refused before it is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > _GOLDEN_BYTES:
                raise ValueError(f"it would unpack to more than {_GOLDEN_BYTES} bytes")
            arrays = {entry.filename.removesuffix(".npy"): _read_array(archive, entry) for entry in entries}
        return _golden(arrays, manifest)
    except KeyError as error:
        raise refusal(directory, f"{GOLDEN} lacks {error}") from None
    except _FAULTS_OF_AN_ARCHIVE as error:
        raise refusal(directory, f"{GOLDEN} can't be read: {error}") from None


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """One .npy; numpy's own reader would allocate whatever its header claims."""
    file = io.BytesIO(archive.read(entry))
    if np.lib.format.read_magic(file) != (1, 0):  # type: ignore[no-untyped-call]
        raise ValueError(f"{entry.filename} is no array of format 1.0")
    shape, fortran, kind = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
    content = file.read()
    if fortran or kind.hasobject or len(content) != int(np.prod(shape, dtype=object)) * kind.itemsize:
        raise ValueError(f"{entry.filename} does not hold what its header says")
    return np.frombuffer(content, kind).reshape(shape)


def _golden(arrays: dict[str, NDArray[Any]], manifest: Manifest) -> Golden:
    def take(name: str, kind: type[np.generic], *shape: int | None) -> NDArray[Any]:
        array = arrays[name]
        fits = array.ndim == len(shape) and all(map(lambda n, s: s in (None, n), array.shape, shape))
        if array.dtype != kind or not fits or not np.isfinite(array).all():
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {kind.__name__} {shape}")
        return array

    width, step = len(manifest.classes) + 1, manifest.geometry
    return Golden(
        samples=take("samples", np.int16, None),
        wearer_means=take("wearer_means", np.float32, manifest.features.size),
        posteriors={k: take(f"posteriors_{k}", np.float32, None, width) for k in KERNELS},
        wearer_posteriors={k: take(f"wearer_posteriors_{k}", np.float32, None, width) for k in KERNELS},
        inputs=take("inputs", np.int8, None, *step.input.shape),
        input_scale=float(take("input_scale", np.float32)),
        input_zero_point=int(take("input_zero_point", np.int8)),
        logits={k: take(f"logits_{k}", np.float32, None, *step.logits.shape) for k in KERNELS},
        tolerance=float(take("tolerance", np.float32)),
    )
