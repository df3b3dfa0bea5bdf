"""The alarm's state machine: armed, pre-alert, alert, acknowledged, disarmed. Pure.

Time comes in as an argument, what to tell goes out. The table in docs/house.md rules; what it leaves open:
- A press that cancels an alert makes deaf to the danger still standing (30 s at most), as in the pre-alert.
- Acknowledged, danger is *again* only once it had ended: an acknowledgement must not raise the next alert.
- `cancelled` after a pre-alert that nobody was told of stays in the journal; a remote cancel is always told.
- With `duress` the wearer's true press is the double one everywhere: it cancels, and it confirms what a
  guardian asked for. In pre-alert and alert any other count only looks like a cancel.
- In a pre-alert a press cancels and does nothing else: a disarm that would wait for one is refused then.
- An alert that stood when the process ended stands again (`start`), for only a person ends one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from device import events
from device.decision import Decision
from device.events import NOTHING_HEARD, Command, Effect, Evidence, Mode, Note, Receipt, Told
from device.settings.sections import AlarmSection

# A row of presses, or a hold, that began in time is heard out before the pre-alert becomes an alert.
TOUCH_GRACE_S: Final = 3.0
WEARER: Final = "wearer"
DEVICE: Final = "device"


@dataclass(frozen=True, slots=True)
class Standing:
    """The alert that stands, or (pre-alert) that is about to."""

    id: str
    kind: Literal["alert", "sos"] = "alert"
    received: bool = False  # a guardian's client has it
    acknowledged: bool = False  # a person has seen it
    duress: bool = False
    repeat: int = 0  # how often danger again repeated it


@dataclass(frozen=True, slots=True)
class Asked:
    """A remote command that waits for the wearer's press."""

    command: Command
    until_s: float


class Alarm:
    """Decides who is told what. Every method takes the time in seconds of one rising clock."""

    def __init__(
        self,
        parameters: AlarmSection,
        *,
        has_button: bool = True,
        guardians_known: bool = False,
        new_id: Callable[[], str] = events.new_id,
    ) -> None:
        self.mode: Mode = "armed"
        self.standing: Standing | None = None
        self.asked: Asked | None = None
        self.disarmed_until_s: float | None = None
        self._parameters = parameters
        # With guardians' keys the broker lets through only what is signed.
        self._must_ask = parameters.remote_needs_press and has_button and not guardians_known
        self._new_id = new_id
        self._pre_alert_since_s = self._pre_alert_until_s = 0.0
        self._deaf_until_s: float | None = None
        self._told_s = 0.0  # when the standing alert was told last
        self._danger_s = 0.0  # when danger was seen last
        self._danger_ended = True  # since the acknowledgement
        self._evidence = NOTHING_HEARD
        self._below: Standing | None = None  # the acknowledged alert in which a pre-alert began

    @property
    def looks(self) -> Mode:
        """The mode that the panel shows: under duress it looks as if the press had cancelled."""
        return "armed" if self.standing and self.standing.duress else self.mode

    @property
    def public_mode(self) -> Mode:
        """The mode for `/state`: a pre-alert is the wearer's own matter, unless `publish_pre_alert`."""
        if self.mode != "pre_alert" or self._parameters.publish_pre_alert:
            return self.mode
        return "acknowledged" if self._below else "armed"

    @property
    def told_alert(self) -> Standing | None:
        """The alert that guardians know to stand: what `start` needs after a restart."""
        return self._below if self.mode == "pre_alert" else self.standing

    def start(self, t_s: float, standing: Standing | None = None) -> list[Effect]:
        """Begin, armed; or with the alert that the outbox knows to stand since before a restart."""
        if standing:
            self.standing = standing
            self.mode = "acknowledged" if standing.acknowledged else "alert"
            self._told_s = self._danger_s = t_s
            return [Note(f"alert {standing.id} still stands from before the start")]
        return [Told("armed", self._new_id(), by=DEVICE, reason="start")]

    def tick(self, t_s: float) -> list[Effect]:
        """Let time pass; call it a few times a second. Every other input lets it pass as well."""
        effects: list[Effect] = []
        if self.asked and t_s >= self.asked.until_s:
            effects.append(Note(f"{self.asked.command.command} was not confirmed by a press: dropped"))
            self.asked = None
        if self.mode == "pre_alert" and t_s >= self._pre_alert_until_s:
            effects.append(self._raise(t_s, "alert", evidence=self._evidence))
        elif self.mode == "acknowledged" and t_s - self._danger_s >= self._parameters.clear_after_s:
            effects.append(self._end("cleared", DEVICE, "no danger since"))
        elif self.disarmed_until_s is not None and t_s >= self.disarmed_until_s:
            effects.append(self._arm(DEVICE, "the time is over"))
        return effects

    def on_decision(self, t_s: float, decision: Decision, evidence: Evidence = NOTHING_HEARD) -> list[Effect]:
        """Take in what was decided at one step."""
        effects = self.tick(t_s)
        if self._deaf_until_s is not None and (decision.calm or t_s >= self._deaf_until_s):
            self._deaf_until_s = None
        if not decision.danger:
            self._danger_ended = True
            return effects
        self._danger_s = t_s
        if self.mode == "pre_alert":
            if (evidence.danger or 0.0) >= (self._evidence.danger or 0.0):
                self._evidence = evidence
        elif self.mode == "alert":
            if t_s - self._told_s >= self._parameters.repeat_s:
                effects.append(self._again(t_s, evidence))
        elif self._heeds_danger():
            effects.extend(self._pre_alert(t_s, evidence))
        return effects

    def call(self, t_s: float, evidence: Evidence = NOTHING_HEARD) -> list[Effect]:
        """Heed the wearer's own call, once for each time that it was heard. Disarmed, nothing listens."""
        effects = self.tick(t_s)
        if self.mode != "disarmed":
            effects.append(self._raise(t_s, "alert", reason="call", evidence=evidence))
        return effects

    def hold(self, t_s: float) -> list[Effect]:
        """SOS: whatever the mode, an alert."""
        return [*self.tick(t_s), self._raise(t_s, "sos", by=WEARER)]

    def touch(self, t_s: float) -> list[Effect]:
        """Note that the button went down; what it means comes later, as `press` or `hold`."""
        effects = self.tick(t_s)
        if self.mode == "pre_alert":
            latest_s = self._pre_alert_since_s + self._parameters.pre_alert_s + TOUCH_GRACE_S
            self._pre_alert_until_s = max(self._pre_alert_until_s, min(t_s + TOUCH_GRACE_S, latest_s))
        return effects

    def press(self, t_s: float, count: int) -> list[Effect]:
        """Take in `count` short presses in a row, counted by the panel."""
        effects = self.tick(t_s)
        duress = self._parameters.duress
        in_danger = self.mode in ("pre_alert", "alert", "acknowledged")
        toggles = count == 3 and not self._alert_stands and not (duress and in_danger)
        is_true = count == 2 if duress else not toggles
        if toggles and self.mode == "disarmed":
            effects.append(self._arm(WEARER, None))
        elif toggles:
            effects.append(self._disarm(t_s, WEARER, self._parameters.disarm_default_s))
        elif self.asked and is_true:
            effects.extend(self._obey(t_s, self.asked.command))
        elif in_danger and is_true:
            effects.extend(self._cancel(t_s, WEARER))
        elif in_danger:
            effects.extend(self._pretend(t_s))
        return effects

    def command(self, t_s: float, command: Command, *, local: bool = False) -> list[Effect]:
        """Take in a command that the broker let through, or (`local`) one from this very machine."""
        effects = self.tick(t_s)
        asks = self._must_ask and not local and command.command in ("disarm", "cancel", "clear")
        why_not = self._refusal(command, asks)
        if why_not:
            effects.append(Note(f"{command.command} by {command.by or 'somebody'} refused: {why_not}"))
        elif asks:
            self.asked = Asked(command, t_s + self._parameters.remote_press_s)
            seconds = self._parameters.remote_press_s
            effects.append(Note(f"{command.command} waits {seconds:g} s for the wearer's press"))
        else:
            effects.extend(self._obey(t_s, command))
        return effects

    def receipt(self, t_s: float, receipt: Receipt) -> list[Effect]:
        """Take in what a guardian's client answers; only the alert that stands counts."""
        effects = self.tick(t_s)
        standing = self.standing
        if standing is None or receipt.id != standing.id or self.mode == "pre_alert":
            return [*effects, Note(f"receipt for {receipt.id}: no such alert stands")]
        acknowledged = receipt.kind == "acknowledged"
        self.standing = replace(standing, received=True, acknowledged=standing.acknowledged or acknowledged)
        if acknowledged and self.mode == "alert":
            self.mode = "acknowledged"
            self._danger_s, self._danger_ended = max(self._danger_s, t_s), False
            effects.append(Told("acknowledged", standing.id, by=receipt.by or "guardian"))
        return effects

    def _heeds_danger(self) -> bool:
        if self.mode == "acknowledged":
            return self._danger_ended
        return self.mode == "armed" and self._deaf_until_s is None

    def _pre_alert(self, t_s: float, evidence: Evidence) -> list[Effect]:
        self._below = self.standing
        self.standing = Standing(self._new_id(), duress=bool(self._below and self._below.duress))
        self.mode, self.asked = "pre_alert", None
        self._pre_alert_since_s, self._pre_alert_until_s = t_s, t_s + self._parameters.pre_alert_s
        self._evidence = evidence
        private = not self._parameters.publish_pre_alert
        told = Told("pre_alert", self.standing.id, evidence=evidence, private=private)
        return [told, *self.tick(t_s)]

    def _raise(
        self,
        t_s: float,
        kind: Literal["alert", "sos"],
        by: str | None = None,
        reason: str | None = None,
        evidence: Evidence = NOTHING_HEARD,
    ) -> Told:
        before = self.standing
        replaced = self._below
        identity = before.id if before else ""
        if self.mode != "pre_alert":
            identity, replaced = self._new_id(), before
        duress = reason == "duress" or bool(before and before.duress)
        self.standing = Standing(identity, kind, duress=duress)
        self._below = self.asked = self._deaf_until_s = self.disarmed_until_s = None
        self.mode = "alert"
        self._told_s = self._danger_s = t_s
        return Told(
            kind,
            identity,
            by=by,
            reason=reason,
            evidence=evidence,
            replaces=replaced.id if replaced else None,
        )

    def _again(self, t_s: float, evidence: Evidence) -> Told:
        before = self._stands()
        self.standing = standing = replace(before, repeat=before.repeat + 1)
        self._told_s = t_s
        reason = "duress" if standing.duress else "danger again"
        return Told(standing.kind, standing.id, reason=reason, evidence=evidence, repeat=standing.repeat)

    def _pretend(self, t_s: float) -> list[Effect]:
        """Look as if cancelled, and tell: once for each alert, for the wearer may be made to press on."""
        if self._stands().duress and self.mode == "alert":
            return []
        evidence = self._evidence if self.mode == "pre_alert" else NOTHING_HEARD
        return [self._raise(t_s, "alert", by=WEARER, reason="duress", evidence=evidence)]

    def _cancel(self, t_s: float, by: str) -> list[Effect]:
        self._deaf_until_s = t_s + self._parameters.deaf_after_cancel_s
        if self.mode != "pre_alert":
            return [self._end("cancelled", by, None)]
        below = self._below
        unknown = by == WEARER and not self._parameters.publish_pre_alert
        effects: list[Effect] = [replace(self._end("cancelled", by, None), private=unknown)]
        if below:
            effects.append(Told("cancelled", below.id, by=by))
        return effects

    def _end(self, kind: Literal["cancelled", "cleared"], by: str, reason: str | None) -> Told:
        ended = self._stands()
        self.mode, self.standing, self.asked, self._below = "armed", None, None, None
        return Told(kind, ended.id, by=by, reason=reason)

    def _arm(self, by: str, reason: str | None) -> Told:
        self.mode, self.disarmed_until_s, self.asked = "armed", None, None
        return Told("armed", self._new_id(), by=by, reason=reason)

    def _disarm(self, t_s: float, by: str, for_s: float) -> Told:
        for_s = min(for_s, self._parameters.disarm_most_s)
        self.mode, self.standing, self.asked, self._deaf_until_s = "disarmed", None, None, None
        self.disarmed_until_s = t_s + for_s
        return Told("disarmed", self._new_id(), by=by, reason=f"for {for_s:g} s")

    def _refusal(self, command: Command, asks: bool) -> str | None:
        """Say why a command has no place now, None where it has."""
        verb, mode = command.command, self.mode
        if verb == "arm" and mode != "disarmed":
            return "armed already"
        if verb == "disarm" and self._alert_stands:
            return "an alert stands"
        if verb == "disarm" and mode == "pre_alert" and asks:
            return "a pre-alert runs, and the wearer's press cancels that"
        if verb == "cancel" and mode != "pre_alert":
            return "no pre-alert; an alert is acknowledged and cleared, or cancelled by the wearer"
        if verb == "clear" and mode != "acknowledged":
            return "no acknowledged alert"
        return None

    def _obey(self, t_s: float, command: Command) -> list[Effect]:
        by = command.by or "guardian"
        match command.command:
            case "arm":
                return [self._arm(by, None)]
            case "disarm":
                return [self._disarm(t_s, by, command.for_s or self._parameters.disarm_default_s)]
            case "cancel":
                return self._cancel(t_s, by)
            case "clear":
                return [self._end("cleared", by, None)]
            case "test":
                return [Told("test", self._new_id(), by=by)]

    @property
    def _alert_stands(self) -> bool:
        return self.mode in ("alert", "acknowledged") or self._below is not None

    def _stands(self) -> Standing:
        if self.standing is None:
            raise AssertionError(f"mode {self.mode} without an alert")
        return self.standing
