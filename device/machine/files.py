"""Files that hold numbers of a person: read within bounds, written whole or not at all, for the owner's eyes only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from device.errors import BadDataError, MissingInputError

_Kept = TypeVar("_Kept")


def load(path: Path, kind: type[_Kept], *, what: str, command: str, most_bytes: int) -> _Kept:
    """Read what `command` kept. Raises MissingInputError or BadDataError, in words with `what` and `command`."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(most_bytes), type=kind)
    except FileNotFoundError:
        raise MissingInputError(f"{what} {path}: not there; `{command}` makes one") from None
    except OSError as error:
        raise BadDataError(f"{what} {path}: can't be read ({os.strerror(error.errno or 0)})") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadDataError(f"{what} {path}: {error}; run `{command}` again") from None


def place(output: Path | None, directory: Path, name: str) -> Path:
    """Where such a file is to be written: `output`, whose folder must be there, else `directory`, made if need be."""
    if output is None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return directory / name
    if not output.parent.is_dir():
        raise MissingInputError(f"{output.parent}: no such folder; make it or name another with --output")
    return output


def save(kept: msgspec.Struct, path: Path, *, what: str) -> None:
    """Write it, whole or not at all. Raises BadDataError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(kept) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise BadDataError(f"{what} {path}: can't be written ({os.strerror(error.errno or 0)})") from None


def leave_to_owner(directory: Path) -> None:
    """Give what root has made in somebody's directory to that somebody; links are not followed."""
    try:
        owner = directory.stat()
    except OSError:
        return
    if owner.st_uid == 0:
        return
    for _, folders, names, inside in os.fwalk(directory):
        for name in [*folders, *names]:
            with contextlib.suppress(FileNotFoundError):  # the service may be at work here
                if os.stat(name, dir_fd=inside, follow_symlinks=False).st_uid == 0:
                    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=inside, follow_symlinks=False)
