"""Does the device hear? A state machine over the age of the last sound and what the sound itself shows; pure.

healthy -> suspect -> recovering -> failed, and from each back to healthy once sound has been steady for a
moment. Never judged by exceptions or by what the sound library says of itself: a stopped sound server keeps
`is_active()` true for ever. Times are monotonic seconds and come in as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from device.audio import Chunk
from device.events import Hearing
from device.sound.pace import Pace, PaceParameters
from device.sound.soundness import Flaw, Soundness, SoundnessParameters

Reason = Literal[
    Flaw,
    "starting",
    "released",
    "no_sound",
    "missing",
    "busy",
    "hung",
    "stale",
    "slow",
    "fast",
    "overflow",
    "moved",
]

WORDS: dict[Reason, str] = {
    "starting": "the microphone is being opened",
    "released": "the microphone is released while disarmed",
    "no_sound": "no sound arrives from the microphone",
    "missing": "the microphone is not there",
    "busy": "another program holds the microphone",
    "hung": "the sound system hangs: only a new process helps",
    "zeros": "the microphone delivers nothing but zeros",
    "frozen": "the microphone repeats the same sound over and over",
    "dc": "the microphone delivers a constant and no sound",
    "clipping": "the sound is clipped most of the time: turn the gain down",
    "muted": "the microphone is far quieter than it ever was: muted or covered",
    "stale": "old sound arrives in a burst",
    "slow": "sound arrives slower than the clock",
    "fast": "sound arrives faster than the clock",
    "overflow": "sound was lost because the device was too busy to hear it",
    "moved": "the stream was moved to another microphone",
}
"""Each reason as a person may read it."""

_DEAF_FLAWS: tuple[Flaw, ...] = ("zeros", "frozen", "dc")


@dataclass(frozen=True, slots=True)
class LivenessParameters:
    """When hearing is in doubt, and when it is lost; seconds."""

    suspect_after_s: float = 1.0
    deaf_after_s: float = 2.0
    """No sound for so long: recovery begins. Deafness must be known within 5 s."""
    zeros_after_s: float = 3.0
    """Zeros, a constant or a frozen buffer for so long: as good as no sound. In doubt after a third of it."""
    doubt_at_most_s: float = 4.0
    """No good sound for so long, whatever came in its place by turns: zeros, then nothing, then zeros. Where one of
    them alone may last longer, so may they together."""
    failed_after_s: float = 30.0
    """Recovery without success for so long."""
    steady_s: float = 1.0
    """Good sound for so long ends recovery."""
    overflow_shown_s: float = 5.0
    pace: PaceParameters = field(default_factory=PaceParameters)
    soundness: SoundnessParameters = field(default_factory=SoundnessParameters)


@dataclass(frozen=True, slots=True)
class HearingReport:
    """How hearing stands; the same object can be read from any thread."""

    state: Hearing
    reasons: tuple[Reason, ...]
    """Why it is not plainly healthy, gravest first; empty when it is."""
    age_s: float
    """Seconds since the last live sound (since the start, before there was any)."""
    level_dbfs: float | None
    """Level of the last sound."""
    since: float
    """Monotonic time at which this state began."""
    dropped_s: float = 0.0
    """Stale sound dropped so far."""
    detail: str = ""
    """What the last attempt to open said: who holds the microphone, what there is instead."""

    @property
    def deaf(self) -> bool:
        """Listening is not possible now."""
        return self.state in ("recovering", "failed")

    @property
    def fault(self) -> Reason | None:
        """What shall be told to others, if anything: deafness, or a doubt that has proved itself."""
        if not self.reasons or self.state == "healthy":
            return None
        first = self.reasons[0]
        proved = self.deaf or first in ("clipping", "muted", "slow", "fast")
        return first if proved else None

    @property
    def words(self) -> str:
        """One line for a person: state and why."""
        why = "; ".join(WORDS[reason] for reason in self.reasons)
        return f"hearing: {self.state}" + (f", {why}" if why else "") + (f" ({self.detail})" if self.detail else "")


class Liveness:
    """Judges hearing from the chunks that arrive and from time that passes."""

    def __init__(self, parameters: LivenessParameters | None = None, now: float = 0.0) -> None:
        self._parameters = parameters or LivenessParameters()
        self._pace = Pace(self._parameters.pace)
        self._soundness = Soundness(self._parameters.soundness)
        self._state: Hearing = "suspect"  # nothing was heard yet
        self._since = now
        self._detail = ""
        self._trouble: Reason | None = None
        self._moved = False
        self._overflow_at: float | None = None
        self._last_live_at = self._last_good_at = self._arrived_at = now
        self._ever_live = False
        self._good_since: float | None = None
        self._flaws: dict[Flaw, float] = {}

    @property
    def dropped_s(self) -> float:
        """Stale sound dropped so far."""
        return self._pace.dropped_s

    def stream_opened(self) -> None:
        """A new stream begins; its age still counts from the last sound of the old one."""
        self._pace.restart()
        self._soundness.restart()
        self._flaws = {}
        self._good_since = None
        self._trouble = None
        self._moved = False
        self._detail = ""

    def opening_failed(self, reason: Literal["missing", "busy"], detail: str) -> None:
        """The microphone could not be opened, and why."""
        self._trouble = reason
        self._detail = detail

    def resumed(self, now: float) -> None:
        """Listening begins again after it was switched off on purpose: the silence meanwhile was no fault."""
        self._last_live_at = self._last_good_at = now
        self._ever_live = False
        self._enter("suspect", now)

    def overflowed(self, now: float) -> None:
        """Sound was lost between the sound card and us."""
        self._overflow_at = now

    def moved(self, detail: str) -> None:
        """The sound server has connected the stream to another source."""
        self._moved = True
        self._detail = detail

    def heard(self, chunk: Chunk) -> bool:
        """Take a chunk as it arrives; False when it is stale and must not be listened to."""
        self._arrived_at = chunk.heard_at
        if not self._pace.admit(chunk):
            self._good_since = None
            return False
        self._flaws = self._soundness.push(chunk)
        self._last_live_at = chunk.heard_at
        self._ever_live = True
        if any(flaw in self._flaws for flaw in _DEAF_FLAWS):
            self._good_since = None
            return True
        self._last_good_at = chunk.heard_at
        if self._good_since is None:
            self._good_since = chunk.heard_at - chunk.seconds
        return True

    def tick(self, now: float) -> HearingReport:
        """Judge; call it often, with or without sound."""
        known = self._parameters
        age_s = max(0.0, now - self._last_live_at)
        deaf, doubts = self._deaf_reasons(age_s, now), self._doubts(age_s, now)
        if self._state in ("healthy", "suspect"):
            if deaf:
                self._enter("recovering", now)
            else:
                self._enter("suspect" if doubts else "healthy", now)
        elif not deaf and self._is_steady(now, age_s):
            self._enter("suspect" if doubts else "healthy", now)
        elif self._state == "recovering" and now - self._since >= known.failed_after_s:
            self._enter("failed", now)
        reasons = tuple(dict.fromkeys([*deaf, *doubts]))
        if self._state in ("recovering", "failed") and not reasons:
            reasons = ("no_sound",)
        return HearingReport(
            state=self._state,
            reasons=reasons,
            age_s=age_s,
            level_dbfs=self._soundness.level_dbfs if self._ever_live else None,
            since=self._since,
            dropped_s=self._pace.dropped_s,
            detail=self._detail,
        )

    def _deaf_reasons(self, age_s: float, now: float) -> list[Reason]:
        """Why listening is not possible now, gravest first."""
        known = self._parameters
        reasons: list[Reason] = []
        if age_s >= known.deaf_after_s:
            reasons.append(self._trouble or self._silent_reason(now))
        if self._moved:
            reasons.append("moved")
        reasons += [flaw for flaw in _DEAF_FLAWS if self._flaws.get(flaw, 0.0) >= known.zeros_after_s]
        longest_s = max(known.doubt_at_most_s, known.deaf_after_s, known.zeros_after_s)
        if not reasons and now - self._last_good_at >= longest_s:
            reasons += [flaw for flaw in _DEAF_FLAWS if flaw in self._flaws] or [self._silent_reason(now)]
        return reasons

    def _doubts(self, age_s: float, now: float) -> list[Reason]:
        """Why listening may not be what it should."""
        known = self._parameters
        doubts: list[Reason] = []
        if not self._ever_live:
            doubts.append("starting")
        elif known.suspect_after_s <= age_s < known.deaf_after_s:
            doubts.append(self._silent_reason(now))
        for flaw, lasted_s in self._flaws.items():
            if flaw not in _DEAF_FLAWS or known.zeros_after_s / 3 <= lasted_s < known.zeros_after_s:
                doubts.append(flaw)
        if self._pace.slow:
            doubts.append("slow")
        if self._pace.fast:
            doubts.append("fast")
        if self._overflow_at is not None and now - self._overflow_at < known.overflow_shown_s:
            doubts.append("overflow")
        return doubts

    def _silent_reason(self, now: float) -> Reason:
        """Whether nothing comes, or only what is too old."""
        arrives = now - self._arrived_at < self._parameters.suspect_after_s
        return "stale" if self._pace.bursting and arrives else "no_sound"

    def _is_steady(self, now: float, age_s: float) -> bool:
        """Whether good sound has come for a while and still comes."""
        known = self._parameters
        return (
            self._good_since is not None and age_s < known.suspect_after_s and now - self._good_since >= known.steady_s
        )

    def _enter(self, state: Hearing, now: float) -> None:
        if state != self._state:
            self._state, self._since = state, now
