"""What is kept: room on the disk, the outbox, and what is known of the wearer."""

import os
from collections.abc import Iterator
from pathlib import Path

from device.checks.finding import Examination, Finding, fail, ok, warn
from device.errors import MissingInputError
from device.machine import board

_LITTLE_DISK_BYTES = 100_000_000


def check_state(examination: Examination) -> Iterator[Finding]:
    """Room on the disk, and the outbox."""
    folder = Path(examination.config.device.state_directory)
    free = board.free_bytes(folder)
    if free is None or free < _LITTLE_DISK_BYTES:
        yield warn("disk", f"{(free or 0) / 1e6:.0f} MB free at {folder}", "make room: alerts are kept there")
    else:
        yield ok("disk", f"{free / 1e9:.1f} GB free at {folder}")
    if folder.exists() and not os.access(folder, os.W_OK) and not examination.service:
        yield fail(
            "disk",
            f"{folder} may not be written by this user",
            "run doctor as the service's user, or sudo",
            78,
        )
    state = examination.state
    if state:
        depth = state.get("outbox_depth")
        if state.get("outbox") == "memory":
            yield fail("outbox", "held in memory: the disk takes no more", f"make room at {folder}")
        elif depth:
            yield warn("outbox", f"{depth} events wait for the broker", "see the check of the broker")
        else:
            yield ok("outbox", "nothing waits")
        proven = state.get("last_proven")
        step = "press Test alarm, or publish a `test` command; a guardian's client must answer"
        yield (ok("test alarm", f"last proven {proven}") if proven else warn("test alarm", "never proven yet", step))


def check_wearer(examination: Examination) -> Iterator[Finding]:
    """What is known of the wearer: the ordinary voice, how far it was learned on, and the own calls."""
    from device import wearer
    from device.installed_models import chosen
    from device.voice import callbook, learning

    manifest = chosen.in_force(examination.config).manifest
    folder = Path(examination.config.device.state_directory)
    said = examination.state.get("wearer")
    try:
        known = wearer.load(folder / wearer.FILE_NAME)
    except MissingInputError:
        yield ok("wearer", "no voice is learned; `outcry calibrate` makes it hear its wearer better")
    else:
        if said == "does_not_fit" or not known.fits(manifest.view):
            words = "the voice was learned with another model package or microphone, so it counts for nothing"
            yield warn("wearer", words, "run `outcry calibrate` again")
        else:
            grown = f"; learned on by itself from {known.learned_s / 60:.0f} min, " if known.start else ""
            most = learning.LearningRules().most_in_all
            far = f"moved by {learning.drift(known, manifest.view):.2f} of at most {most:g}" if known.start else ""
            yield ok("wearer", f"learned from {known.seconds:.0f} s of voice{grown}{far}")
    try:
        calls = callbook.load(folder / callbook.FILE_NAME)
    except MissingInputError:
        return
    names = ", ".join(repr(call.name) for call in calls.fitting(manifest))
    if names:
        yield ok("call", f"listens for {names}")
    else:
        yield warn("call", "enrolled with another model package: it is not heard", "run `outcry enrol` again")
