"""The calls that were enrolled, in one JSON file. Personal: `outcry forget` erases it, nothing sends it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from device import wearer
from device.errors import BadDataError
from device.machine import files
from device.manifest import NETWORK, Manifest
from device.voice.call import MOST_CALLS, Call

FILE_NAME: Final = "calls.json"
_WHAT: Final = "call file"
_BYTES = 1024 * 1024


class CallBook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls by their names, and the microphone that they were heard through (empty: they came from files)."""

    calls: tuple[Call, ...]
    microphone: str = ""

    def __post_init__(self) -> None:
        """Refuse two calls of one name, and more than can be told apart."""
        if len({call.name for call in self.calls}) != len(self.calls) or len(self.calls) > MOST_CALLS:
            raise ValueError(f"calls: up to {MOST_CALLS}, each with its own name")

    def fitting(self, manifest: Manifest) -> tuple[Call, ...]:
        """The calls that were enrolled with this package; another network's numbers mean nothing to it."""
        ours = digest(manifest)
        return tuple(call for call in self.calls if call.parameters == ours)

    def written_in(self, call: Call, microphone: str) -> CallBook:
        """This book with a call put in, in place of one of the same name. Raises BadDataError where it is full."""
        others = tuple(one for one in self.calls if one.name != call.name)
        if len(others) >= MOST_CALLS:
            raise BadDataError(f"{MOST_CALLS} calls are enrolled already; erase them with `outcry forget`")
        return CallBook((*others, call), microphone)


def digest(manifest: Manifest) -> str:
    """Names the features, the view and the network that a call's numbers come from."""
    told = wearer.digest(manifest.view) + manifest.files[NETWORK].sha256
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def load(path: Path) -> CallBook:
    """Read the calls. Raises MissingInputError or BadDataError."""
    return files.load(path, CallBook, what=_WHAT, command="outcry enrol NAME", most_bytes=_BYTES)


def save(book: CallBook, path: Path) -> None:
    """Write the calls, whole or not at all. Raises BadDataError."""
    files.save(book, path, what=_WHAT)
