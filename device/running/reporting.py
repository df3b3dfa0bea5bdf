"""What the device is, for those who look: panel, `/state`, `/level`, meters, systemd's status line."""

import time

import msgspec

from device import __version__, events
from device.control import Client
from device.events import State
from device.led_and_button.rhythms import pattern_of
from device.machine import board
from device.running.parts import Parts
from device.telling.evidence import level_of

READINGS_EVERY_S = 0.1
LEVEL_EVERY_S = 1.0
BOARD_EVERY_S = 10.0  # they change slowly, and each look asks the Pi's firmware


def wall_now() -> str | None:
    """The time for others, None while nobody has set the clock."""
    return events.format_at(time.time()) if board.clock_is_set() else None


class Reporter:
    """Shows the state wherever somebody looks; called by the main thread with each of its turns."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watchers: list[Client] = []
        self._published: State | None = None
        self._published_at = self._read_at = self._levelled_at = self._looked_at = -float("inf")
        self._charge: float | None = None
        self._throttled: bool | None = None
        self._since = wall_now()

    def watch(self, client: Client) -> None:
        """Send a meter's readings to this client from now on."""
        self._watchers.append(client)

    def report(self, now: float) -> None:
        """Show what is new."""
        self._show()
        if now - self._read_at >= READINGS_EVERY_S:
            self._read_at = now
            state = self.state()
            self._publish(now, state)
            self._read_out(now, state)

    def _show(self) -> None:
        standing = self._parts.alarm.standing
        self._parts.panel.show(
            pattern_of(
                self._parts.alarm.looks,
                delivered=standing is not None and self._parts.outbox.status(standing.id) != "queued",
                received=standing is not None and standing.received,
                fault=bool(self._parts.faults),
                asked=self._parts.alarm.asked is not None,
            )
        )

    def state(self) -> State:
        """What the device is just now."""
        hearing = self._parts.hearing
        report = hearing.report if hearing else None
        self._look_at_board(time.monotonic())
        return State(
            device=self._parts.config.device.name,
            mode=self._parts.alarm.public_mode,
            armed=self._parts.alarm.mode != "disarmed",
            hearing=report.state if report else "failed",
            hearing_reason=(report.words if report.reasons else None) if report else self._parts.why_deaf,
            audio_age_s=round(report.age_s, 1) if report else None,
            level_dbfs=None if report is None or report.level_dbfs is None else round(report.level_dbfs, 1),
            version=__version__,
            since=self._since,
            outbox_depth=self._parts.outbox.depth,
            outbox=self._parts.outbox.place,
            last_proven=self._parts.outbox.kept("last_proven") or None,
            battery=self._charge,
            model=hearing.road.network.package.manifest.identity if hearing else None,
            wearer=hearing.wearer_known if hearing else "none",
            throttled=self._throttled,
        )

    def _look_at_board(self, now: float) -> None:
        if now - self._looked_at >= BOARD_EVERY_S:
            self._looked_at = now
            battery = board.battery()
            self._charge = battery.charge if battery else None
            self._throttled = board.throttled()

    def _publish(self, now: float, state: State) -> None:
        """Publish the state when what matters in it has changed, and every so often."""
        before = self._published
        changed = before is None or _core(state) != _core(before)
        if before is not None and _standing(state) != _standing(before):
            self._since = wall_now()
            state = msgspec.structs.replace(state, since=self._since)
        if changed:
            self._parts.notifier.status(
                "; ".join([f"{state.mode}, hearing {state.hearing}", *self._parts.faults.words()])
            )
        if changed or now - self._published_at >= self._parts.config.mqtt.state_every_s:
            self._published, self._published_at = state, now
            if self._parts.broker:
                self._parts.broker.publish_state(state)

    def _read_out(self, now: float, state: State) -> None:
        """Hand the latest reading to meters that watch, and once a second to `/level`."""
        heard = self._parts.hearing.latest if self._parts.hearing else None
        if heard is None or self._parts.hearing is None:
            return
        road = self._parts.hearing.road
        threshold = road.decider.parameters.threshold
        level = level_of(heard, road.network.package.manifest, threshold, state.mode, state.hearing)
        self._watchers = [client for client in self._watchers if not client.ending]
        for client in self._watchers:
            client.send(msgspec.to_builtins(level))
        if self._parts.broker and now - self._levelled_at >= LEVEL_EVERY_S:
            self._levelled_at = now
            self._parts.broker.publish_level(level.danger, level.emotions)


def _standing(state: State) -> tuple[str, bool, str]:
    """What `since` tells the beginning of."""
    return state.mode, state.armed, state.hearing


def _core(state: State) -> State:
    """The state without what changes all the time."""
    return msgspec.structs.replace(state, audio_age_s=None, level_dbfs=None, since=None)
