"""What a check of `doctor` finds, and what all checks share: the configuration, and what a running service says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from device import control
from device.config import Config

Verdict = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    check: str
    verdict: Verdict
    words: str
    next_step: str = ""
    code: int = 0


def ok(check: str, words: str) -> Finding:
    """It is as it should be."""
    return Finding(check, "ok", words)


def warn(check: str, words: str, next_step: str) -> Finding:
    """It works, but somebody should look."""
    return Finding(check, "warn", words, next_step)


def fail(check: str, words: str, next_step: str, code: int = 70) -> Finding:
    """It does not work."""
    return Finding(check, "fail", words, next_step, code)


class Examination:
    """What the checks share: the configuration in force and the answer of the running service, if one runs."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.service: control.Message | None = None
        """What the running service says of itself; None where none runs."""
        answers = control.ask(Path(config.device.runtime_directory, control.SOCKET_NAME), {"do": "state"})
        if answers is not None:
            self.service = next(answers, None)

    @property
    def state(self) -> dict[str, Any]:
        """The running service's state; empty where none runs."""
        state = (self.service or {}).get("state")
        return state if isinstance(state, dict) else {}


Check = Callable[[Examination], Iterator[Finding]]
