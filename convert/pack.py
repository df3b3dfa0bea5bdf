"""Write a package's files and the manifest that names them; needs no TensorFlow."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from device.manifest import MANIFEST, FileEntry, Manifest


def write(folder: Path, manifest: Manifest, files: dict[str, bytes], *, durable: bool = True) -> None:
    """Write `files` and a manifest with their sizes and hashes; `durable`: on the disk before this returns."""
    entries = {n: FileEntry(hashlib.sha256(data).hexdigest(), len(data)) for n, data in sorted(files.items())}
    whole = msgspec.structs.replace(manifest, files=entries)
    raw = msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"
    for name, data in {**files, MANIFEST: raw}.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
