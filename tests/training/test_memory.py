"""Freed memory stays with the process: counted by the pages that the kernel has to hand out again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from training.memory import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()
def fill():
    bytearray(b"x") * (48 << 20)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's settings")
def test_kept_memory_is_not_faulted_in_again() -> None:
    assert faults("keep") * 10 < faults("give back")
