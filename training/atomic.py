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

    A full disk becomes one line (DiskFullError) and leaves nothing behind.
    """
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        yield fresh
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFullError(
            f"the disk is full: {folder} was not written; free some space or set OUTCRY_CACHE elsewhere"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
