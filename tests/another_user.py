"""Run Python as a user who is not root: for root no file is closed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_SEE_PROJECT = f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n"


def said_of(path: Path, code: str) -> str:
    """What `code` prints, run by nobody (or by us, where we are not root) with `path` as its first argument.

    Opens the folders above `path` for everybody. Skips where nobody can't reach this checkout or its Python.
    """
    path.parent.chmod(0o755)
    for folder in path.parent.parents[:2]:
        folder.chmod(folder.stat().st_mode | 0o055)
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-c", _SEE_PROJECT + code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Permission" in done.stderr or "No module named 'device'" in done.stderr:
        pytest.skip("another user can't reach this checkout")
    return done.stdout
