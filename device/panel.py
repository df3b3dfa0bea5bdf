"""LED, button, buzzer or motor: what the wearer sees and feels, and what the wearer says without speaking.

The patterns, the counting of presses and the choice of pins lie in `led_and_button/`; this room plays and listens, over
gpiozero. A part that can't be had is logged and left out; the others work on.
Callbacks run in a thread of the panel or of gpiozero: let them only put something into a queue.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from device.led_and_button import pins
from device.led_and_button.presses import PressCounter
from device.led_and_button.rhythms import CANCELLED, IN_DANGER, LED, MOTOR, Pattern, Rhythm
from device.settings.sections import PanelSection

logger = logging.getLogger(__name__)

BOUNCE_S: Final = 0.02
CLOSE_S: Final = 1.0


class Panel:
    """Shows one pattern at a time, and calls back for presses. Close it to release the pins."""

    def __init__(
        self,
        section: PanelSection,
        on_press: Callable[[int], None] = lambda _count: None,
        on_hold: Callable[[], None] = lambda: None,
        on_touch: Callable[[], None] = lambda: None,
    ) -> None:
        self.problems: list[str] = []
        self._on_press, self._on_hold, self._on_touch = on_press, on_hold, on_touch
        self._discreet = section.discreet
        self._counter = PressCounter()
        self._changed = threading.Condition()
        self._pattern: Pattern | None = None
        self._since_s = 0.0
        self._motor: Rhythm | None = None
        self._closing = False
        import gpiozero

        self._pins = pins.found()
        self.simulated, factory = self._pins.simulated, self._pins.factory
        self._led = self._part("LED", section.led, lambda pin: gpiozero.LED(pin, pin_factory=factory))
        self._buzzer = self._part("buzzer", section.buzzer, lambda pin: gpiozero.Buzzer(pin, pin_factory=factory))
        self._button = self._part(
            "button", section.button, lambda pin: self._button_on(pin, section.sos_hold_s, factory)
        )
        self._thread = threading.Thread(target=self._play, name="panel", daemon=True)
        self._thread.start()

    @property
    def has_button(self) -> bool:
        """Whether there is a button that a wearer can press."""
        return self._button is not None and not self.simulated

    @property
    def alive(self) -> bool:
        """Whether the panel still plays; the supervisor asks."""
        return self._thread.is_alive()

    def show(self, pattern: Pattern) -> None:
        """Show this pattern from now on; showing it again changes nothing."""
        with self._changed:
            before = self._pattern
            if pattern == before:
                return
            self._pattern, self._since_s = pattern, time.monotonic()
            over = before in IN_DANGER and pattern not in IN_DANGER
            self._motor = MOTOR.get(pattern, CANCELLED if over else None)
            self._changed.notify()
        if self.simulated:
            logger.info("LED (simulated) shows: %s", pattern)

    def close(self) -> None:
        """Dark, still, and all pins released."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
        for output in (self._led, self._buzzer):
            if output is not None:
                output.off()  # a closed pin may keep its level
        for part in (self._button, self._led, self._buzzer):
            if part is not None:
                part.close()
        if self._pins.ours:
            self._pins.factory.close()

    def _play(self) -> None:
        """Switch LED and motor when their rhythm says so, and end rows of presses. The panel's own thread."""
        while True:
            with self._changed:
                if self._closing:
                    return
                now_s = time.monotonic()
                count = self._counter.take(now_s)
                waits = [self._switched(now_s)]
                if self._counter.ends_s is not None:
                    waits.append(self._counter.ends_s - now_s)
                if not count:
                    self._changed.wait(min((wait for wait in waits if wait is not None), default=None))
            if count:
                self._on_press(count)

    def _switched(self, now_s: float) -> float | None:
        """Set LED and motor as they must be now; return the seconds to the next change."""
        elapsed_s = now_s - self._since_s
        waits = []
        led = LED[self._pattern] if self._pattern and not self._discreet else None
        for part, rhythm in ((self._led, led), (self._buzzer, self._motor)):
            is_on, wait_s = rhythm.at(elapsed_s) if rhythm else (False, None)
            if part is not None and part.is_active != is_on:
                part.on() if is_on else part.off()
            if wait_s is not None:
                waits.append(wait_s)
        return min(waits, default=None)

    def _pressed(self) -> None:
        with self._changed:
            self._counter.pressed()
        self._on_touch()

    def _held(self) -> None:
        with self._changed:
            self._counter.held()
        self._on_hold()

    def _released(self) -> None:
        with self._changed:
            self._counter.released(time.monotonic())
            self._changed.notify()

    def _button_on(self, pin: int, hold_s: float, factory: Any) -> Any:
        import gpiozero

        button = gpiozero.Button(pin, pull_up=True, bounce_time=BOUNCE_S, hold_time=hold_s, pin_factory=factory)
        if button.is_pressed:
            # gpiozero heeds edges only, so this is no SOS; but the next true press would not be seen either.
            self._complain(f"the button on GPIO{pin} reads pressed at the start: release it, or check its wiring")
        button.when_pressed, button.when_held, button.when_released = (
            self._pressed,
            self._held,
            self._released,
        )
        return button

    def _part(self, name: str, pin: int, made: Callable[[int], Any]) -> Any:
        if pin < 0:
            return None
        try:
            return made(pin)
        except Exception as error:  # noqa: BLE001 - lgpio, RPi.GPIO and gpiozero each have their own kinds
            self._complain(f"no {name} on GPIO{pin}: {error}")
            return None

    def _complain(self, problem: str) -> None:
        self.problems.append(problem)
        logger.error("%s; the rest of the panel works on", problem)
