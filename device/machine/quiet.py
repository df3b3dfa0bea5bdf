"""Keeps the remarks of C libraries off standard error, where one line of ours shall stand; they have no switch."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()


@contextmanager
def libraries(quiet: bool = True) -> Iterator[None]:
    """Send file descriptor 2 into the void meanwhile: for milliseconds, since our own log is lost with it."""
    if not quiet:
        yield
        return
    with _lock:
        saved = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)
