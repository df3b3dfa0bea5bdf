"""`outcry listen`: a live meter of loudness, danger and emotions in the terminal.

Where the service runs it owns the microphone, and the meter shows what the service hears; else it listens itself.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from device import control
from device.config import Config
from device.errors import OutcryError
from device.hearing.alone import heard_now
from device.hearing.road import Road, decision_parameters
from device.hearing.thread import gate_of
from device.network import Network
from device.telling.evidence import Level, level_of

_QUIET_DBFS = -60.0
_FRAMES_PER_SECOND = 8


def listen(config: Config, network: Callable[[], Network]) -> None:
    """Show the meter until Ctrl-C; `network` is called where no service runs. Raises what opening raises."""
    console = Console(stderr=True)
    answers = control.ask(Path(config.device.runtime_directory, control.SOCKET_NAME), {"do": "listen"})
    if answers is not None:
        console.print("the running service listens; this is what it hears (Ctrl-C ends the meter only)")
        levels = _from_service(answers)
    else:
        console.print("listening (Ctrl-C ends)")
        levels = _own(config, network())
    with Live(console=console, auto_refresh=False, transient=False) as live:
        try:
            for level in levels:
                live.update(face(level), refresh=True)
        except KeyboardInterrupt:
            return


def _from_service(answers: Iterator[control.Message]) -> Iterator[Level]:
    for answer in answers:
        yield msgspec.convert(answer, Level)
    raise OutcryError("the service has ended; see its log")


def _own(config: Config, network: Network) -> Iterator[Level]:
    manifest = network.package.manifest
    parameters = decision_parameters(manifest, config)
    road = Road(network, parameters, gate_of(config.microphone))
    for heard, report in heard_now(config.microphone, road):
        yield level_of(heard, manifest, parameters.threshold, "armed", report.state)


def face(level: Level) -> Group:
    """The meter as rich draws it."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", width=11)
    table.add_column(width=42)
    table.add_column(width=22)
    loud = max(0.0, 1 - level.level_dbfs / _QUIET_DBFS)
    table.add_row("loudness", _bar(loud, "cyan"), f"{level.level_dbfs:6.1f} dBFS")
    colour = "red" if level.decision == "danger" else "yellow"
    table.add_row("danger", _bar(level.danger, colour), f"{level.danger:6.2f}  (alarm at {level.threshold:.2f})")
    for name, share in level.emotions.items():
        table.add_row(name, _bar(share, "blue"), f"{share:6.2f}")
    words = Text(f"{level.mode}, hearing {level.hearing}, {level.decision}", style=f"bold {colour}")
    return Group(table, words)


def _bar(share: float, colour: str) -> ProgressBar:
    return ProgressBar(
        total=1.0, completed=min(max(share, 0.0), 1.0), width=40, complete_style=colour, finished_style=colour
    )
