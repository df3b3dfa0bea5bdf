"""What the service is made of, for the rooms that look after it."""

from dataclasses import dataclass

from device.alarm import Alarm
from device.broker import Broker
from device.config import Config
from device.hearing.thread import Hearing
from device.machine.notify import Notifier
from device.outbox import Outbox
from device.panel import Panel
from device.telling.faults import Faults


@dataclass(slots=True)
class Parts:
    """One service's parts; what is None is missing, and the rest works without it."""

    config: Config
    alarm: Alarm
    faults: Faults
    outbox: Outbox
    panel: Panel
    broker: Broker | None
    notifier: Notifier
    hearing: Hearing | None = None
    why_deaf: str | None = None
    """Why there is no hearing at all: no package that passes."""
