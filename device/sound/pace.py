"""Does sound come as fast as time passes? Finds stalls, bursts of stale sound, and wrong clocks; pure.

After a stall a sound server may hand over all it had kept, seconds of the past within milliseconds. Taken
for the present it would be heard late, so it is dropped, and counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from device.audio import Chunk


@dataclass(frozen=True, slots=True)
class PaceParameters:
    """How far sound may run from the clock."""

    stall_s: float = 1.5
    """A longer pause before a chunk is a stall: what comes now is the past. After a shorter one (a busy machine)
    it is better heard a second late than not at all."""
    ahead_s: float = 1.5
    """More sound than time by this much, within the window, can't be live."""
    window_s: float = 30.0
    tolerance: float = 0.06
    """Sound slower or faster by this share, over a whole window, is a fault: more than a pause within `stall_s`
    can feign, less than the 9 % between 44.1 and 48 kHz; crystals differ by 0.01 %."""
    on_pace_chunks: int = 2
    """So many chunks in a row at the clock's pace end a burst."""


class Pace:
    """Judges when chunks arrive; `admit` says whether one is live."""

    def __init__(self, parameters: PaceParameters | None = None) -> None:
        self._parameters = parameters or PaceParameters()
        self.dropped_s = 0.0
        """Stale sound that was dropped, in all."""
        self.restart()

    def restart(self) -> None:
        """A new stream: nothing is known of its pace."""
        self._arrivals: deque[tuple[float, float]] = deque()  # (arrival, seconds)
        self._window_sound_s = 0.0
        self._on_pace = 0
        self._ahead_at: float | None = None
        self.bursting = False
        """Stale sound is arriving just now."""

    @property
    def ratio(self) -> float | None:
        """Seconds of sound for each second that passed, over a whole window; None before."""
        if not self._arrivals:
            return None
        passed_s = self._arrivals[-1][0] - self._arrivals[0][0]
        return self._window_sound_s / passed_s if passed_s >= self._parameters.window_s * 0.9 else None

    @property
    def slow(self) -> bool:
        """Sound gets lost, or the device's clock is wrong."""
        return self.ratio is not None and self.ratio < 1 - self._parameters.tolerance

    @property
    def fast(self) -> bool:
        """More sound than time: bursts keep coming, or the device's clock is wrong."""
        if self._ahead_at is not None and self._since_s(self._ahead_at) < 2 * self._parameters.window_s:
            return True
        return self.ratio is not None and self.ratio > 1 + self._parameters.tolerance

    def admit(self, chunk: Chunk) -> bool:
        """Take a chunk as it arrives; False for a stale one, and for those that show the end of a burst."""
        if not self._arrivals:
            self._break(chunk)
            return True
        passed_s = chunk.heard_at - self._arrivals[-1][0]
        if passed_s > chunk.seconds + self._parameters.stall_s:
            self._break(chunk)
            self.bursting = True
        else:
            self._follow(chunk)
            if self.bursting:
                self._on_pace = self._on_pace + 1 if passed_s > 0.5 * chunk.seconds else 0
                self.bursting = self._on_pace < self._parameters.on_pace_chunks
                if not self.bursting:
                    self._break(chunk)
            elif self._ahead_s() > self._parameters.ahead_s:
                self._break(chunk)
                self._ahead_at = chunk.heard_at
                self.bursting = True
        if self.bursting:
            self.dropped_s += chunk.seconds
        return not self.bursting

    def _break(self, chunk: Chunk) -> None:
        """From here on the clock is compared anew."""
        self._arrivals.clear()
        self._arrivals.append((chunk.heard_at, chunk.seconds))
        self._window_sound_s = 0.0
        self._on_pace = 0

    def _follow(self, chunk: Chunk) -> None:
        self._arrivals.append((chunk.heard_at, chunk.seconds))
        self._window_sound_s += chunk.seconds
        while chunk.heard_at - self._arrivals[0][0] > self._parameters.window_s:
            self._arrivals.popleft()
            # The sound before the first arrival is not the window's.
            self._window_sound_s -= self._arrivals[0][1]

    def _ahead_s(self) -> float:
        return self._window_sound_s - self._since_s(self._arrivals[0][0])

    def _since_s(self, then: float) -> float:
        return self._arrivals[-1][0] - then
