"""Real packages for the tests: the shipped one, else one built at random weights; and how to spoil a copy."""

from __future__ import annotations

import functools
import io
import json
import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from convert.pack import write
from device.installed_models import chosen
from device.manifest import MANIFEST, Manifest
from device.package import load


@functools.cache
def original() -> Path:
    """The directory of one whole package; built once a process where none ships."""
    if found := chosen.shipped():
        return found[0]
    pytest.importorskip("tensorflow")
    from convert.build import Label, build
    from convert.run_folder import RunFolder
    from tests.convert.made_run import made_run

    scratch = Path(tempfile.mkdtemp(prefix="outcry-package-"))
    return build(RunFolder(made_run(scratch / "run")), scratch, Label("made", "1")).directory


def copy_to(folder: Path, **changes: object) -> Path:
    """A whole package at `folder`, its manifest changed (hashes fit again)."""
    source = load(original())
    folder.mkdir(parents=True)
    files = {name: (source.directory / name).read_bytes() for name in source.manifest.files}
    write(folder, msgspec.structs.replace(source.manifest, **changes), files, durable=False)
    return folder


def with_file(folder: Path, name: str, data: bytes) -> Path:
    """The package at `folder` with other content of one file, hashes fitting: what a forger would do."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    files = {n: (folder / n).read_bytes() for n in manifest.files} | {name: data}
    write(folder, manifest, files, durable=False)
    return folder


def with_manifest(folder: Path, change: dict[str, object]) -> Path:
    """The package at `folder` with raw fields of its manifest set ("a.b" goes inside); no type is in the way."""
    raw = json.loads((folder / MANIFEST).read_text())
    for path, value in change.items():
        *way, last = path.split(".")
        part = raw
        for step in way:
            part = part[int(step)] if isinstance(part, list) else part[step]
        part[int(last) if isinstance(part, list) else last] = value
    (folder / MANIFEST).write_text(json.dumps(raw))
    return folder


def golden_arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "golden.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
