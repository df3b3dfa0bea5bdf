"""`outcry forget`: erase what the device keeps of its wearer; by the service itself where it runs."""

from pathlib import Path

from device import control, wearer
from device import outbox as outboxes
from device.config import Config
from device.outbox import Outbox
from device.telling.journal import Journal
from device.voice import callbook

CLIPS = "clips"  # as `telling/clip.py` calls its folder; importing it costs a Pi a tenth of a second


def forget(config: Config) -> str:
    """Erase journal, outbox, wearer, calls and clips; what a person is told of it."""
    socket = Path(config.device.runtime_directory, control.SOCKET_NAME)
    answers = control.ask(socket, {"do": "forget"}, 15.0)
    if answers is not None:
        return str(next(answers, {"said": "the service ended meanwhile: run it again"})["said"])
    outbox = outboxes.from_config(config)
    try:
        return erase(Path(config.device.state_directory), outbox)
    finally:
        outbox.close()


def erase(state: Path, outbox: Outbox) -> str:
    """Erase; the words say what had to stay."""
    files = Journal(state).erase()
    for path in (state / wearer.FILE_NAME, state / callbook.FILE_NAME, *(state / CLIPS).glob("*")):
        if path.is_file():
            path.unlink()
            files += 1
    kept = outbox.forget()
    stays = f"; {kept} alerts that were not delivered yet stay until they are" if kept else ""
    return f"forgotten: {files} files and the outbox{stays}"
