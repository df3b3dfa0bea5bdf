"""Folders that are either whole or not there: written beside their place, then moved into it."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.errors import OutcryError


class DiskFullError(OutcryError, OSError):
    """The disk filled while something was written; nothing of it was kept (exit 70)."""


@contextmanager
def replace(folder: Path) -> Iterator[Path]:
    """A fresh folder to write into; it takes `folder`'s place only when the block ends without an error.

    A full disk becomes one line (DiskFullError) and leaves nothing behind; what a killed process left beside
    is swept away by the next.
    """
    _sweep(folder)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        fresh.mkdir(parents=True)
        yield fresh
        _settle(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFullError(
            f"{folder}: the disk is full, nothing was kept; free some space or set OUTCRY_CACHE elsewhere"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _settle(folder: Path) -> None:
    """On the disk before it is named: after a power cut the name must not stand for less than was written."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sweep(folder: Path) -> None:
    for old in folder.parent.glob(f".{folder.name}.*"):
        pid = old.suffix[1:]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(old, ignore_errors=True)
