"""The panel: patterns as a table and as timed facts on mock pins, presses, and the ways without a Pi."""

import logging
import sys
import threading
import time
import types
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from queue import Queue

import pytest
from gpiozero import Device
from gpiozero.pins.local import LocalPiFactory
from gpiozero.pins.mock import MockFactory, MockPin
from hypothesis import given
from hypothesis import strategies as st

from device.led_and_button.presses import PressCounter
from device.led_and_button.rhythms import LED, MOTOR, Pattern, Rhythm, pattern_of
from device.panel import Panel
from device.settings.sections import PanelSection

TOLERANCE_S = 0.08  # two shared cores; the shortest step that a person must tell apart is 0.1 s


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    """Mock pins that behave; given from outside, they count as real."""
    Device.pin_factory = MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = None


@pytest.fixture
def no_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(Device, "pin_factory", None)


# --- the table ---------------------------------------------------------------------------------


def switches(rhythm: Rhythm, seconds: float) -> list[tuple[float, bool]]:
    """Follow a rhythm by what it says itself: when it switches, and to what."""
    t_s, state, seen = 0.0, False, []
    while t_s < seconds:
        is_on, wait_s = rhythm.at(t_s + 1e-9)
        if is_on != state:
            seen.append((round(t_s, 3), is_on))
            state = is_on
        if wait_s is None:
            break
        t_s += wait_s + 1e-9
    return seen


def on(*spans: tuple[float, float]) -> list[tuple[float, bool]]:
    return [(at, state) for begin, end in spans for at, state in ((begin, True), (end, False))]


@pytest.mark.parametrize(
    ("pattern", "seconds", "expected"),
    [
        ("ready", 10.9, on((0, 0.05), (5, 5.05), (10, 10.05))),
        ("pre_alert", 0.99, on((0, 0.125), (0.25, 0.375), (0.5, 0.625), (0.75, 0.875))),
        ("undelivered", 1.99, on((0, 0.5), (1, 1.5))),
        ("alert", 7000, [(0, True)]),
        ("received", 3.9, on((0, 1.8), (2, 3.8))),
        ("acknowledged", 4.9, on((0, 0.3), (0.6, 0.9), (2.5, 2.8), (3.1, 3.4))),
        ("fault", 1.9, on((0, 0.1), (0.3, 0.4), (0.6, 0.7))),
        ("disarmed", 19.9, on((0, 1), (10, 11))),
    ],
)
def test_the_led_patterns_are_the_designs(pattern: Pattern, seconds: float, expected: list[tuple[float, bool]]) -> None:
    assert switches(LED[pattern], seconds) == expected


@given(st.sampled_from([*LED.values(), *MOTOR.values()]), st.floats(0, 1e6))
def test_a_rhythm_always_moves_on(rhythm: Rhythm, elapsed_s: float) -> None:
    is_on, wait_s = rhythm.at(elapsed_s)
    assert (wait_s is None) == (not rhythm.repeats and elapsed_s >= sum(map(sum, rhythm.steps)))
    assert wait_s is None or 0 <= wait_s <= 3600
    assert wait_s is not None or not is_on


def test_every_pattern_has_a_led_rhythm_of_its_own() -> None:
    assert set(LED) == set(Pattern.__args__)
    assert len({rhythm.steps for rhythm in LED.values()}) == len(LED)


@pytest.mark.parametrize(
    ("looks", "facts", "pattern"),
    [
        ("armed", {}, "ready"),
        ("armed", {"fault": True}, "fault"),
        ("armed", {"asked": True, "fault": True}, "asked"),
        ("disarmed", {}, "disarmed"),
        ("disarmed", {"fault": True}, "fault"),
        ("pre_alert", {"fault": True, "asked": True}, "pre_alert"),
        ("alert", {"fault": True}, "undelivered"),
        ("alert", {"delivered": True, "fault": True}, "alert"),
        ("alert", {"delivered": True, "received": True}, "received"),
        ("acknowledged", {"delivered": True, "received": True, "fault": True, "asked": True}, "acknowledged"),
    ],
)
def test_the_pattern_follows_the_alarm(looks: str, facts: dict[str, bool], pattern: str) -> None:
    assert pattern_of(looks, **facts) == pattern  # type: ignore[arg-type]


# --- counting presses --------------------------------------------------------------------------


def counted(*edges: tuple[float, str]) -> list[int]:
    counter, rows, last_s = PressCounter(), [], 0.0
    for at_s, edge in edges:
        rows.append(counter.take(at_s))
        counter.released(at_s) if edge == "released" else getattr(counter, edge)()
        last_s = at_s
    rows.append(counter.take(last_s + 1))
    return [row for row in rows if row]


def presses(*at_s: float) -> list[tuple[float, str]]:
    return [edge for at in at_s for edge in ((at, "pressed"), (at + 0.1, "released"))]


def test_presses_in_a_row_are_counted_together_and_a_pause_parts_them() -> None:
    assert counted(*presses(0)) == [1]
    assert counted(*presses(0, 0.4)) == [2]
    assert counted(*presses(0, 0.4, 0.8)) == [3]
    assert counted(*presses(0, 1, 1.4)) == [1, 2]


def test_a_held_press_counts_for_nothing_and_ends_the_row() -> None:
    held = [(1.0, "pressed"), (3.0, "held"), (3.5, "released")]
    assert counted(*held) == []
    assert counted(*presses(0.7), *held) == []
    assert counted(*held, *presses(5)) == [1]


def test_a_release_without_a_press_counts_for_nothing() -> None:
    assert counted((0, "released"), (1, "released")) == []


# --- on mock pins, in time ---------------------------------------------------------------------


def seen_on(pins: MockFactory, number: int, seconds: float) -> list[tuple[float, bool]]:
    """Watch a pin for so long; return when it switched since the watch began, and to what."""
    pin = pins.pin(number)
    pin.clear_states()
    time.sleep(seconds)
    return switched(pin)


def switched(pin: MockPin) -> list[tuple[float, bool]]:
    at_s = accumulate(state.timestamp for state in pin.states)
    return list(zip(at_s, (state.state for state in pin.states), strict=True))[1:]


def agree(seen: list[tuple[float, bool]], expected: list[tuple[float, bool]]) -> None:
    assert [state for _, state in seen] == [state for _, state in expected]
    for (at_s, _), (due_s, _) in zip(seen, expected, strict=True):
        assert at_s == pytest.approx(due_s, abs=TOLERANCE_S)


def test_the_led_keeps_every_rhythm_in_real_time(pins: MockFactory) -> None:
    panels = {pattern: Panel(PanelSection(led=pin, button=-1, buzzer=-1)) for pin, pattern in enumerate(LED, start=4)}
    try:
        for pin, (pattern, panel) in enumerate(panels.items(), start=4):
            pins.pin(pin).clear_states()
            panel.show(pattern)
        time.sleep(5.5)
        for pin, pattern in enumerate(panels, start=4):
            expected = switches(LED[pattern], 5.3)
            agree(switched(pins.pin(pin))[: len(expected)], expected)
    finally:
        for panel in panels.values():
            panel.close()


def test_an_alert_lights_the_led_and_shows_no_gap(pins: MockFactory) -> None:
    panel = Panel(PanelSection())
    try:
        panel.show("alert")
        agree(seen_on(pins, 17, 2.5), [(0, True)])
    finally:
        panel.close()


def test_showing_the_same_pattern_again_does_not_start_it_anew(pins: MockFactory) -> None:
    panel = Panel(PanelSection())
    try:
        panel.show("undelivered")
        for _ in range(10):
            time.sleep(0.05)
            panel.show("undelivered")
        assert not pins.pin(17).state or len(pins.pin(17).states) == 3
        time.sleep(0.2)
        assert not pins.pin(17).state
    finally:
        panel.close()


def test_discreet_the_led_never_lights_and_the_motor_tells(pins: MockFactory) -> None:
    panel = Panel(PanelSection(discreet=True))
    moved = {}
    try:
        for pattern in ("ready", "pre_alert", "undelivered", "alert", "received", "acknowledged", "fault", "disarmed"):
            motor = pins.pin(22)
            motor.clear_states()
            panel.show(pattern)
            time.sleep(0.15)
            moved[pattern] = motor.state or any(state.state for state in motor.states[1:])
            time.sleep(0.15)
        assert all(not state.state for state in pins.pin(17).states)
    finally:
        panel.close()
    assert [pattern for pattern, did in moved.items() if did] == ["pre_alert", "acknowledged", "fault"]


def test_the_end_of_an_alarm_is_felt_once(pins: MockFactory) -> None:
    panel = Panel(PanelSection())
    try:
        panel.show("alert")
        time.sleep(0.1)
        pins.pin(22).clear_states()
        panel.show("ready")
        agree(seen_on(pins, 22, 0.6), [(0, True), (0.1, False)])
    finally:
        panel.close()


def test_without_parts_there_is_nothing_to_light_or_to_press(pins: MockFactory) -> None:
    panel = Panel(PanelSection(led=-1, button=-1, buzzer=-1))
    try:
        panel.show("pre_alert")
        time.sleep(0.2)
        assert not panel.has_button
        assert panel.problems == []
        assert panel.alive
    finally:
        panel.close()


class Pressed:
    """A panel whose callbacks are kept with their times, and a finger."""

    def __init__(self, pins: MockFactory, section: PanelSection) -> None:
        self.calls: Queue[tuple[str, float]] = Queue()
        self.panel = Panel(
            section,
            lambda count: self.calls.put((f"press {count}", time.monotonic())),
            lambda: self.calls.put(("hold", time.monotonic())),
            lambda: self.calls.put(("touch", time.monotonic())),
        )
        self.pin = pins.pin(27)

    def press(self, seconds: float = 0.05) -> None:
        self.pin.drive_low()
        time.sleep(seconds)
        self.pin.drive_high()

    def said(self, seconds: float = 0.8) -> list[str]:
        time.sleep(seconds)
        return [self.calls.get()[0] for _ in range(self.calls.qsize())]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_short_presses_are_counted_at_the_button(pins: MockFactory, number: int) -> None:
    finger = Pressed(pins, PanelSection())
    try:
        assert finger.panel.has_button
        for _ in range(number):
            finger.press()
            time.sleep(0.1)
        assert finger.said() == ["touch"] * number + [f"press {number}"]
    finally:
        finger.panel.close()


def test_held_two_seconds_is_an_sos_while_still_held(pins: MockFactory) -> None:
    finger = Pressed(pins, PanelSection())
    try:
        begun_s = time.monotonic()
        finger.press(2.3)
        said = [finger.calls.get(timeout=1) for _ in range(2)]
        assert [what for what, _ in said] == ["touch", "hold"]
        assert said[1][1] - begun_s == pytest.approx(2.0, abs=0.15)
        assert finger.said() == [], "the release of a hold is no press"
        finger.press()
        assert finger.said() == ["touch", "press 1"]
    finally:
        finger.panel.close()


def test_a_button_that_is_down_at_the_start_is_told_and_is_no_sos(pins: MockFactory) -> None:
    pins.pin(27).drive_low()  # gpiozero's pull-up would lift a free pin: hold it as a bad wire does
    pins.pin(27)._set_pull = lambda _value: None
    finger = Pressed(pins, PanelSection(sos_hold_s=1.0))
    try:
        assert finger.panel.problems == [
            "the button on GPIO27 reads pressed at the start: release it, or check its wiring"
        ]
        assert finger.said(1.3) == []
        finger.pin.drive_high()
        finger.press()
        assert finger.said() == ["touch", "press 1"], "once it came up it works"
    finally:
        finger.panel.close()


def test_a_press_just_under_two_seconds_is_short(pins: MockFactory) -> None:
    finger = Pressed(pins, PanelSection())
    try:
        finger.press(1.8)
        assert finger.said() == ["touch", "press 1"]
    finally:
        finger.panel.close()


def test_closing_is_quick_dark_and_ends_the_thread(pins: MockFactory) -> None:
    before = threading.active_count()
    panel = Panel(PanelSection())
    panel.show("alert")
    time.sleep(0.05)
    begun_s = time.monotonic()
    panel.close()
    assert time.monotonic() - begun_s < 0.5
    assert not panel.alive
    assert not pins.pin(17).state
    assert threading.active_count() == before


# --- without a Pi, and over RPi.GPIO -----------------------------------------------------------


@pytest.mark.usefixtures("no_factory")
def test_without_gpio_it_says_so_and_shows_on_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    panel = Panel(PanelSection())
    try:
        assert panel.simulated
        assert not panel.has_button
        panel.show("pre_alert")
    finally:
        panel.close()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("no GPIO here, so LED, button and buzzer are simulated (lgpio: ")
    assert "RPi.GPIO: " in warnings[0]
    assert "LED (simulated) shows: pre_alert" in caplog.text


class Rpi(types.ModuleType):
    """Stands in for RPi.GPIO off the Pi: it keeps a record of the calls that reach it."""

    BCM, BOARD, IN, OUT = 11, 10, 1, 0
    I2C, SPI, HARD_PWM, SERIAL, UNKNOWN = 42, 41, 43, 40, -1
    PUD_OFF, PUD_DOWN, PUD_UP = 20, 21, 22
    RISING, FALLING, BOTH = 31, 32, 33

    def __init__(self, *, edges: bool) -> None:
        super().__init__("RPi.GPIO")
        self.calls: list[tuple[object, ...]] = []
        self.functions: dict[int, int] = {}
        self.levels: dict[int, int] = {}
        self.edges = edges
        self.callback: object = None

    def setmode(self, mode: int) -> None:
        self.calls.append(("setmode", mode))

    def setwarnings(self, flag: bool) -> None:
        self.calls.append(("setwarnings", flag))

    def setup(self, pin: int, function: int, pull: int = 20, initial: object = None) -> None:
        self.calls.append(("setup", pin, function, pull, initial))
        self.functions[pin] = function
        self.levels[pin] = int(pull == self.PUD_UP) if function == self.IN else int(bool(initial))

    def gpio_function(self, pin: int) -> int:
        return self.functions.get(pin, self.IN)

    def input(self, pin: int) -> int:
        return self.levels.get(pin, 0)

    def output(self, pin: int, value: object) -> None:
        self.calls.append(("output", pin, int(bool(value))))
        self.levels[pin] = int(bool(value))

    def add_event_detect(self, pin: int, edges: int, callback: object, bouncetime: int) -> None:
        self.calls.append(("add_event_detect", pin, edges, bouncetime))
        if not self.edges:
            raise RuntimeError("Failed to add edge detection")
        self.callback = callback

    def remove_event_detect(self, pin: int) -> None:
        self.calls.append(("remove_event_detect", pin))

    def cleanup(self, pin: int | None = None) -> None:
        self.calls.append(("cleanup", pin))


def over_rpigpio(monkeypatch: pytest.MonkeyPatch, *, edges: bool) -> Rpi:
    """Let only RPi.GPIO be there, as on an older Pi."""
    gpio = Rpi(edges=edges)
    package = types.ModuleType("RPi")
    package.GPIO = gpio  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "RPi", package)
    monkeypatch.setitem(sys.modules, "RPi.GPIO", gpio)
    monkeypatch.setitem(sys.modules, "lgpio", None)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.rpigpio", raising=False)
    monkeypatch.setattr(LocalPiFactory, "_get_revision", lambda _self: 0x902120)  # a Pi Zero 2 W
    monkeypatch.setattr(LocalPiFactory, "pins", {})
    return gpio


@pytest.mark.usefixtures("no_factory")
def test_over_rpigpio_led_and_button_work(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gpio = over_rpigpio(monkeypatch, edges=True)
    pressed: Queue[int] = Queue()
    panel = Panel(PanelSection(), pressed.put)
    try:
        assert "GPIO over RPi.GPIO" in caplog.text
        assert (panel.simulated, panel.has_button, panel.problems) == (False, True, [])
        assert ("setmode", Rpi.BCM) in gpio.calls
        assert ("setup", 17, Rpi.OUT, Rpi.PUD_OFF, False) in gpio.calls
        assert gpio.levels[27] == 1, "the button is pulled up"
        panel.show("alert")
        time.sleep(0.15)
        assert ("output", 17, 1) in gpio.calls
        for level in (0, 1):
            gpio.levels[27] = level
            gpio.callback(27)  # type: ignore[operator]
            time.sleep(0.05)
        assert pressed.get(timeout=2) == 1
    finally:
        panel.close()
    assert gpio.levels[17] == 0
    assert gpio.calls[-1] == ("cleanup", None)


@pytest.mark.usefixtures("no_factory")
def test_over_rpigpio_on_a_new_kernel_the_led_works_and_the_missing_button_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpio = over_rpigpio(monkeypatch, edges=False)
    panel = Panel(PanelSection())
    try:
        assert not panel.has_button
        assert panel.problems == ["no button on GPIO27: Failed to add edge detection"]
        assert "no button on GPIO27" in caplog.text
        panel.show("alert")
        time.sleep(0.15)
        assert gpio.levels[17] == 1
    finally:
        panel.close()


@pytest.mark.usefixtures("no_factory")
def test_the_environment_may_choose_the_pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    panel = Panel(PanelSection())
    try:
        assert panel.simulated
        assert panel.alive
    finally:
        panel.close()


def test_a_pin_that_is_taken_leaves_the_rest_working(pins: MockFactory) -> None:
    first = Panel(PanelSection(button=-1, buzzer=-1))
    second = Panel(PanelSection(led=17, button=5, buzzer=6))
    try:
        assert second.problems
        assert "no LED on GPIO17" in second.problems[0]
        assert second.has_button
    finally:
        first.close()
        second.close()
