"""Freed memory is kept by this process instead of given back to the kernel after every training step.

A training step under JAX on a CPU takes one block of tens of megabytes and frees it again. glibc gives such blocks back
at once, so each step faults thousands of zeroed pages in anew: the gate-normalised GRU of 64 units spent half of its
time on that. What it costs: the process never becomes smaller than it was at its largest.
"""

import ctypes
import sys

# From malloc.h, with values that an int holds.
_SETTINGS = {-1: 2**31 - 1, -2: 128 << 20, -3: 1 << 30}  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD


def keep_freed() -> bool:
    """Tell glibc to keep what is freed; False where the C library is another one, and nothing changes."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(name, value) == 1 for name, value in _SETTINGS.items())
