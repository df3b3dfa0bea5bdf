"""Every row of the alarm's table, and what the table leaves open."""

from itertools import count

import pytest

from device.alarm import Alarm, Standing
from device.decision import Decision
from device.events import (
    Command,
    Effect,
    Evidence,
    Mode,
    Note,
    Receipt,
    Told,
    decode_event,
    encode,
    format_at,
)
from device.settings.sections import AlarmSection

DANGER = Decision(danger=True, score=0.9, changed=False, calm=False, seconds_over=1.0)
BETWEEN = Decision(danger=False, score=0.5, changed=False, calm=False, seconds_over=0.0)
CALM = Decision(danger=False, score=0.1, changed=False, calm=True, seconds_over=0.0)
HEARD = Evidence(danger=0.9, threshold=0.6, emotions={"fear": 0.8}, loudness_dbfs=-12.0, model="m")


def made(*, has_button: bool = True, guardians_known: bool = False, **keys: object) -> Alarm:
    ids = (f"id-{number}" for number in count(1))
    return Alarm(
        AlarmSection(**keys),  # type: ignore[arg-type]
        has_button=has_button,
        guardians_known=guardians_known,
        new_id=lambda: next(ids),
    )


def brought_to(mode: Mode, **keys: object) -> Alarm:
    """Return an alarm that came to this mode by its own rules; time stands at 100 s."""
    alarm = made(**keys)
    if mode == "disarmed":
        alarm.press(100, 3)
    elif mode == "pre_alert":
        alarm.on_decision(100, DANGER, HEARD)
    elif mode in ("alert", "acknowledged"):
        alarm.on_decision(90, DANGER, HEARD)
        alarm.on_decision(95, CALM)
        alarm.tick(100)
    if mode == "acknowledged":
        alarm.receipt(100, Receipt(id=alarm.standing.id, kind="acknowledged", by="Ann"))
    assert alarm.mode == mode
    return alarm


def told(effects: list[Effect]) -> list[tuple[str, str, str | None, str | None]]:
    return [(e.kind, e.id, e.by, e.reason) for e in effects if isinstance(e, Told)]


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.kind for effect in effects if isinstance(effect, Told)]


def notes(effects: list[Effect]) -> str:
    return " ".join(effect.text for effect in effects if isinstance(effect, Note))


def asked(verb: str, for_s: float | None = None) -> Command:
    return Command(command=verb, id="c", by="Ann", for_s=for_s)  # type: ignore[arg-type]


# --- the table, row by row ---------------------------------------------------------------------


def test_at_start_it_is_armed_and_says_so() -> None:
    alarm = made()
    assert told(alarm.start(0)) == [("armed", "id-1", "device", "start")]
    assert alarm.mode == "armed"


@pytest.mark.parametrize(("publish", "audience"), [(False, "journal"), (True, "event")])
def test_armed_danger_gives_a_pre_alert_told_to_nobody_else(publish: bool, audience: str) -> None:
    alarm = made(publish_pre_alert=publish)
    [effect] = alarm.on_decision(100, DANGER, HEARD)
    assert (effect.kind, effect.audience, effect.evidence) == ("pre_alert", audience, HEARD)
    assert alarm.mode == "pre_alert"
    assert alarm.public_mode == ("pre_alert" if publish else "armed")


@pytest.mark.parametrize("mode", ["armed", "pre_alert"])
def test_armed_or_pre_alert_sos_is_an_alert_at_once(mode: Mode) -> None:
    alarm = brought_to(mode)
    assert told(alarm.hold(101)) == [("sos", "id-1", "wearer", None)]
    assert alarm.mode == "alert"
    assert kinds(alarm.tick(200)) == []


@pytest.mark.parametrize("mode", ["armed", "pre_alert"])
def test_armed_or_pre_alert_the_wearers_own_call_is_an_alert_at_once(mode: Mode) -> None:
    alarm = brought_to(mode)
    assert told(alarm.call(101, HEARD)) == [("alert", "id-1", None, "call")]
    assert alarm.mode == "alert"


def test_pre_alert_a_short_press_within_the_time_cancels_it() -> None:
    alarm = brought_to("pre_alert")
    [effect] = alarm.press(109.9, 1)
    assert (effect.kind, effect.id, effect.by, effect.audience) == ("cancelled", "id-1", "wearer", "journal")
    assert alarm.mode == "armed"


def test_pre_alert_a_cancel_that_others_must_hear_of_is_told() -> None:
    [effect] = brought_to("pre_alert", publish_pre_alert=True).press(105, 1)
    assert effect.audience == "alert"


@pytest.mark.parametrize("how", [{"has_button": False}, {"guardians_known": True}, {"remote_needs_press": False}])
def test_pre_alert_an_allowed_remote_cancel_ends_it_and_is_always_told(how: dict[str, bool]) -> None:
    alarm = brought_to("pre_alert", **how)
    [effect] = alarm.command(105, asked("cancel"))
    assert (effect.kind, effect.by, effect.audience) == ("cancelled", "Ann", "alert")
    assert alarm.mode == "armed"


def test_after_a_cancel_it_is_deaf_until_danger_has_fallen_below_release() -> None:
    alarm = brought_to("pre_alert")
    alarm.press(105, 1)
    assert alarm.on_decision(106, DANGER) == []
    assert alarm.on_decision(107, BETWEEN) == []
    assert alarm.on_decision(108, DANGER) == [], "between release and threshold it is still deaf"
    assert alarm.on_decision(109, CALM) == []
    assert kinds(alarm.on_decision(109.1, DANGER)) == ["pre_alert"]


def test_after_a_cancel_it_is_deaf_for_30_s_at_most() -> None:
    alarm = brought_to("pre_alert")
    alarm.press(105, 1)
    assert alarm.on_decision(134.9, DANGER) == []
    assert kinds(alarm.on_decision(135, DANGER)) == ["pre_alert"]


def test_deaf_after_a_cancel_sos_and_the_wearers_call_are_heard() -> None:
    for act in (lambda alarm: alarm.hold(106), lambda alarm: alarm.call(106)):
        alarm = brought_to("pre_alert")
        alarm.press(105, 1)
        act(alarm)
        assert alarm.mode == "alert"


def test_pre_alert_ten_seconds_pass_whatever_the_danger_does_meanwhile() -> None:
    alarm = brought_to("pre_alert")
    assert alarm.on_decision(101, CALM) == []
    assert alarm.tick(109.9) == []
    [effect] = alarm.tick(110)
    assert (effect.kind, effect.id, effect.audience, effect.evidence) == ("alert", "id-1", "alert", HEARD)
    assert alarm.mode == "alert"


def test_a_press_that_began_in_time_is_heard_out() -> None:
    alarm = brought_to("pre_alert")
    alarm.touch(109.9)
    assert alarm.tick(110.2) == []
    assert kinds(alarm.press(110.3, 1)) == ["cancelled"]


def test_a_finger_that_lies_on_the_button_holds_no_alert_up() -> None:
    alarm = brought_to("pre_alert")
    for tenth in range(1060, 1130, 4):
        alarm.touch(tenth / 10)
    assert alarm.mode == "pre_alert"
    assert kinds(alarm.touch(113)) == ["alert"]


def test_pre_alert_the_alert_carries_the_strongest_evidence() -> None:
    alarm = brought_to("pre_alert")
    louder, weaker = Evidence(danger=0.99), Evidence(danger=0.7)
    alarm.on_decision(101, DANGER, louder)
    alarm.on_decision(102, DANGER, weaker)
    [effect] = alarm.tick(110)
    assert effect.evidence == louder


def test_without_a_pre_alert_time_others_are_told_at_once() -> None:
    assert kinds(made(pre_alert_s=0).on_decision(1, DANGER)) == ["pre_alert", "alert"]


def test_a_press_after_the_ten_seconds_cancels_the_alert_and_says_so_to_all() -> None:
    alarm = brought_to("pre_alert")
    effects = alarm.press(110, 1)
    assert kinds(effects) == ["alert", "cancelled"]
    assert effects[-1].audience == "alert"


def test_alert_danger_again_repeats_the_same_id_once_a_minute_at_most() -> None:
    alarm = brought_to("alert")
    assert alarm.on_decision(159.9, DANGER) == []
    [effect] = alarm.on_decision(160, DANGER, HEARD)
    assert (effect.kind, effect.id, effect.repeat, effect.evidence) == ("alert", "id-1", 1, HEARD)
    assert alarm.on_decision(219, DANGER) == []
    assert [effect.repeat for effect in alarm.on_decision(220, DANGER)] == [2]


def test_alert_a_guardian_acknowledges() -> None:
    alarm = brought_to("alert")
    receipt = Receipt(id="id-1", kind="acknowledged", by="Ann")
    assert told(alarm.receipt(101, receipt)) == [("acknowledged", "id-1", "Ann", None)]
    assert alarm.mode == "acknowledged"
    assert alarm.receipt(102, receipt) == [], "the second guardian changes nothing"


def test_alert_received_is_known_and_told_to_nobody() -> None:
    alarm = brought_to("alert")
    assert alarm.receipt(101, Receipt(id="id-1", kind="received")) == []
    assert alarm.mode == "alert"
    assert alarm.standing.received


def test_a_receipt_for_another_alert_counts_for_nothing() -> None:
    for mode in ("armed", "pre_alert", "alert", "disarmed"):
        alarm = brought_to(mode)
        for identity in ("id-0", "id-1" if mode != "alert" else "id-2"):
            effects = alarm.receipt(101, Receipt(id=identity, kind="acknowledged"))
            assert kinds(effects) == []
            assert "no such alert" in notes(effects)
        assert alarm.mode == mode


def test_acknowledged_danger_again_is_a_pre_alert_and_a_new_alert() -> None:
    alarm = brought_to("acknowledged")
    alarm.on_decision(101, CALM)
    assert told(alarm.on_decision(105, DANGER)) == [("pre_alert", "id-2", None, None)]
    [effect] = alarm.tick(115)
    assert (effect.kind, effect.id, effect.replaces) == ("alert", "id-2", "id-1")


def test_acknowledged_the_same_danger_still_going_on_is_no_new_alert() -> None:
    alarm = brought_to("alert")
    alarm.on_decision(101, DANGER)
    alarm.receipt(102, Receipt(id="id-1", kind="acknowledged"))
    assert alarm.on_decision(103, DANGER) == []
    alarm.on_decision(104, BETWEEN)
    assert kinds(alarm.on_decision(105, DANGER)) == ["pre_alert"]


@pytest.mark.parametrize("mode", ["alert", "acknowledged"])
def test_alert_or_acknowledged_the_wearers_short_press_cancels(mode: Mode) -> None:
    alarm = brought_to(mode)
    [effect] = alarm.press(105, 1)
    assert (effect.kind, effect.id, effect.by, effect.audience) == ("cancelled", "id-1", "wearer", "alert")
    assert (alarm.mode, alarm.standing) == ("armed", None)


def test_acknowledged_thirty_minutes_without_danger_clear_it() -> None:
    alarm = brought_to("acknowledged")
    assert alarm.tick(1899.9) == []
    assert told(alarm.tick(1900)) == [("cleared", "id-1", "device", "no danger since")]
    assert alarm.mode == "armed"


def test_acknowledged_danger_puts_the_clearing_off() -> None:
    alarm = brought_to("alert")
    alarm.on_decision(100, DANGER)
    alarm.receipt(100, Receipt(id="id-1", kind="acknowledged"))
    alarm.on_decision(1000, DANGER)
    assert alarm.tick(2799) == []
    assert kinds(alarm.tick(2800)) == ["cleared"]


def test_acknowledged_a_guardians_clear_ends_it() -> None:
    alarm = brought_to("acknowledged", guardians_known=True)
    assert told(alarm.command(105, asked("clear"))) == [("cleared", "id-1", "Ann", None)]
    assert alarm.mode == "armed"


@pytest.mark.parametrize("mode", ["armed", "pre_alert"])
@pytest.mark.parametrize(("for_s", "lasts_s"), [(None, 3600), (60, 60), (43200, 43200), (1e9, 43200)])
def test_disarm_lasts_as_long_as_asked_and_twelve_hours_at_most(
    mode: Mode, for_s: float | None, lasts_s: float
) -> None:
    alarm = brought_to(mode, guardians_known=True)
    [effect] = alarm.command(101, asked("disarm", for_s))
    assert (effect.kind, effect.by, effect.reason) == ("disarmed", "Ann", f"for {lasts_s} s")
    assert alarm.mode == "disarmed"
    assert alarm.tick(100.9 + lasts_s) == []
    assert told(alarm.tick(101 + lasts_s)) == [
        ("armed", "id-3" if mode == "pre_alert" else "id-2", "device", "the time is over")
    ]
    assert alarm.mode == "armed"


@pytest.mark.parametrize("mode", ["armed", "pre_alert"])
def test_three_short_presses_disarm_for_an_hour_and_arm_again(mode: Mode) -> None:
    alarm = brought_to(mode)
    assert [effect.reason for effect in alarm.press(101, 3)] == ["for 3600 s"]
    assert alarm.mode == "disarmed"
    assert [(effect.kind, effect.by) for effect in alarm.press(102, 3)] == [("armed", "wearer")]
    assert alarm.mode == "armed"


@pytest.mark.parametrize("mode", ["alert", "acknowledged"])
def test_disarm_is_refused_while_an_alert_stands(mode: Mode) -> None:
    alarm = brought_to(mode, guardians_known=True)
    effects = alarm.command(105, asked("disarm"))
    assert kinds(effects) == []
    assert "an alert stands" in notes(effects)
    assert alarm.mode == mode


@pytest.mark.parametrize("mode", ["alert", "acknowledged"])
def test_three_presses_while_an_alert_stands_are_a_cancel_and_no_disarm(mode: Mode) -> None:
    alarm = brought_to(mode)
    assert kinds(alarm.press(105, 3)) == ["cancelled"]
    assert alarm.mode == "armed"


def test_disarmed_danger_and_the_wearers_call_are_not_heeded() -> None:
    alarm = brought_to("disarmed")
    assert alarm.on_decision(101, DANGER) == []
    assert alarm.call(102) == []
    assert alarm.mode == "disarmed"


def test_disarmed_sos_is_an_alert_and_afterwards_it_is_armed() -> None:
    alarm = brought_to("disarmed")
    assert kinds(alarm.hold(101)) == ["sos"]
    assert alarm.mode == "alert"
    assert kinds(alarm.press(105, 1)) == ["cancelled"]
    assert alarm.mode == "armed"
    assert alarm.tick(99999) == [], "the old disarm's end is forgotten"


@pytest.mark.parametrize("mode", ["alert", "acknowledged"])
def test_alert_or_acknowledged_sos_takes_the_old_ones_place(mode: Mode) -> None:
    alarm = brought_to(mode)
    [effect] = alarm.hold(105)
    assert (effect.kind, effect.id, effect.replaces) == ("sos", "id-2", "id-1")
    assert alarm.mode == "alert"
    assert not alarm.standing.acknowledged


@pytest.mark.parametrize("mode", ["alert", "acknowledged"])
def test_alert_or_acknowledged_the_wearers_call_takes_the_old_ones_place(mode: Mode) -> None:
    alarm = brought_to(mode)
    [effect] = alarm.call(105)
    assert (effect.kind, effect.id, effect.reason, effect.replaces) == ("alert", "id-2", "call", "id-1")
    assert alarm.mode == "alert"


def test_an_unacknowledged_alert_never_fades() -> None:
    alarm = brought_to("alert")
    for day in range(1, 30):
        assert alarm.on_decision(day * 86400, CALM) == []
    assert alarm.mode == "alert"


# --- duress ------------------------------------------------------------------------------------


def test_duress_a_single_press_in_the_pre_alert_only_looks_like_a_cancel() -> None:
    alarm = brought_to("pre_alert", duress=True)
    [effect] = alarm.press(105, 1)
    assert (effect.kind, effect.id, effect.reason, effect.evidence) == ("alert", "id-1", "duress", HEARD)
    assert (alarm.mode, alarm.looks) == ("alert", "armed")
    assert alarm.public_mode == "alert"


@pytest.mark.parametrize("mode", ["alert", "acknowledged"])
def test_duress_a_single_press_in_an_alert_sends_another_with_the_reason(mode: Mode) -> None:
    alarm = brought_to(mode, duress=True)
    [effect] = alarm.press(105, 1)
    assert (effect.kind, effect.id, effect.reason, effect.replaces) == ("alert", "id-2", "duress", "id-1")
    assert (alarm.mode, alarm.looks) == ("alert", "armed")
    assert alarm.press(106, 1) == [], "told once, however often the button is pressed"


@pytest.mark.parametrize("mode", ["pre_alert", "alert", "acknowledged"])
@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_duress_no_count_but_two_ends_anything(mode: Mode, count: int) -> None:
    alarm = brought_to(mode, duress=True)
    alarm.press(105, count)
    assert (alarm.mode, alarm.looks) == ("alert", "armed")


@pytest.mark.parametrize("mode", ["pre_alert", "alert", "acknowledged"])
def test_duress_a_double_press_cancels(mode: Mode) -> None:
    alarm = brought_to(mode, duress=True)
    assert kinds(alarm.press(105, 2)) == ["cancelled"]
    assert alarm.mode == "armed"


def test_duress_the_look_lasts_until_the_alert_ends() -> None:
    alarm = brought_to("pre_alert", duress=True)
    alarm.press(105, 1)
    alarm.receipt(106, Receipt(id="id-1", kind="acknowledged"))
    assert (alarm.mode, alarm.looks) == ("acknowledged", "armed")
    alarm.on_decision(107, CALM)
    alarm.on_decision(108, DANGER)
    assert (alarm.mode, alarm.looks) == ("pre_alert", "armed")
    alarm.tick(118)
    assert (alarm.mode, alarm.looks) == ("alert", "armed")
    alarm.hold(119)
    assert alarm.looks == "armed"
    alarm.press(120, 2)
    alarm.hold(130)
    assert (alarm.mode, alarm.looks) == ("alert", "alert")


def test_duress_what_a_guardian_asks_for_is_confirmed_by_the_double_press_only() -> None:
    alarm = made(duress=True)
    alarm.command(100, asked("disarm"))
    assert alarm.press(101, 1) == []
    assert alarm.mode == "armed"
    assert kinds(alarm.press(102, 2)) == ["disarmed"]


def test_duress_armed_three_presses_still_disarm() -> None:
    assert kinds(made(duress=True).press(100, 3)) == ["disarmed"]


# --- remote commands without guardians' keys ---------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "verb", "outcome"),
    [
        ("armed", "disarm", "disarmed"),
        ("pre_alert", "cancel", "cancelled"),
        ("acknowledged", "clear", "cleared"),
    ],
)
def test_a_remote_command_waits_for_the_press_and_names_the_guardian(mode: Mode, verb: str, outcome: str) -> None:
    alarm = brought_to(mode)
    effects = alarm.command(101, asked(verb, 600))
    assert kinds(effects) == []
    assert "waits 30 s" in notes(effects)
    assert (alarm.mode, alarm.asked is not None) == (mode, True)
    [effect] = alarm.press(105, 1)
    assert (effect.kind, effect.by, effect.private) == (outcome, "Ann", False)
    assert alarm.asked is None


@pytest.mark.parametrize(("mode", "verb"), [("armed", "disarm"), ("acknowledged", "clear")])
def test_a_remote_command_without_a_press_is_dropped_after_30_s(mode: Mode, verb: str) -> None:
    alarm = brought_to(mode)
    alarm.command(101, asked(verb))
    assert alarm.tick(130.9) == []
    assert "not confirmed" in notes(alarm.tick(131))
    assert alarm.mode == mode
    assert kinds(alarm.press(132, 1)) == (["cancelled"] if mode == "acknowledged" else [])


def test_a_remote_cancel_without_a_press_leaves_the_pre_alert_running() -> None:
    alarm = brought_to("pre_alert")
    alarm.command(101, asked("cancel"))
    assert kinds(alarm.tick(110)) == ["alert"]
    assert alarm.asked is None


def test_a_press_that_cancels_a_pre_alert_never_confirms_a_disarm() -> None:
    alarm = made()
    alarm.command(99, asked("disarm"))
    alarm.on_decision(100, DANGER)
    effects = alarm.command(101, asked("disarm"))
    assert "wearer's press cancels" in notes(effects)
    assert kinds(alarm.press(105, 1)) == ["cancelled"]
    assert alarm.mode == "armed"
    assert alarm.press(106, 1) == []


@pytest.mark.parametrize(
    ("mode", "verb"),
    [("armed", "cancel"), ("alert", "cancel"), ("acknowledged", "cancel"), ("disarmed", "cancel"),
     ("armed", "clear"), ("pre_alert", "clear"), ("alert", "clear"), ("disarmed", "clear"),
     ("armed", "arm"), ("pre_alert", "arm"), ("alert", "arm"), ("acknowledged", "arm")],
)  # fmt: skip
def test_a_command_that_has_no_place_changes_nothing_even_signed(mode: Mode, verb: str) -> None:
    alarm = brought_to(mode, guardians_known=True)
    effects = alarm.command(101, asked(verb))
    assert kinds(effects) == []
    assert "refused" in notes(effects)
    assert (alarm.mode, alarm.asked) == (mode, None)


def test_arming_needs_no_press() -> None:
    alarm = brought_to("disarmed")
    assert [(effect.kind, effect.by) for effect in alarm.command(101, asked("arm"))] == [("armed", "Ann")]
    assert alarm.mode == "armed"


def test_a_command_on_this_machine_needs_no_press() -> None:
    alarm = made()
    assert kinds(alarm.command(100, asked("disarm"), local=True)) == ["disarmed"]


@pytest.mark.parametrize("mode", ["armed", "pre_alert", "alert", "acknowledged", "disarmed"])
def test_a_test_changes_nothing_and_is_told_as_test(mode: Mode) -> None:
    alarm = brought_to(mode)
    [effect] = alarm.command(101, asked("test"))
    assert (effect.kind, effect.audience) == ("test", "event")
    assert alarm.mode == mode


def test_a_rehearsed_alert_is_told_as_test() -> None:
    [_, alert] = made(pre_alert_s=0).on_decision(0, DANGER, HEARD)
    assert (alert.rehearsed().kind, alert.rehearsed().audience, alert.rehearsed().id) == (
        "test",
        "event",
        "id-1",
    )


# --- an acknowledged alert under a pre-alert ---------------------------------------------------


def in_second_pre_alert(**keys: object) -> Alarm:
    alarm = brought_to("acknowledged", **keys)
    alarm.on_decision(101, CALM)
    alarm.on_decision(102, DANGER)
    assert alarm.mode == "pre_alert"
    return alarm


def test_cancelling_the_second_pre_alert_tells_the_guardians_of_the_first_alerts_end() -> None:
    effects = in_second_pre_alert().press(105, 1)
    assert [(e.kind, e.id, e.audience) for e in effects] == [
        ("cancelled", "id-2", "journal"), ("cancelled", "id-1", "alert"),
    ]  # fmt: skip


def test_in_the_second_pre_alert_an_alert_still_stands() -> None:
    alarm = in_second_pre_alert(guardians_known=True)
    assert alarm.public_mode == "acknowledged"
    assert "an alert stands" in notes(alarm.command(103, asked("disarm")))
    assert kinds(alarm.press(104, 3)) == ["cancelled", "cancelled"]
    assert alarm.mode == "armed"


def test_sos_in_the_second_pre_alert_takes_the_place_of_the_first_alert() -> None:
    [effect] = in_second_pre_alert().hold(105)
    assert (effect.kind, effect.id, effect.replaces) == ("sos", "id-2", "id-1")


# --- restarts, events --------------------------------------------------------------------------


@pytest.mark.parametrize("acknowledged", [False, True])
def test_an_alert_from_before_a_restart_still_stands(acknowledged: bool) -> None:
    alarm = made()
    effects = alarm.start(0, Standing("old", "sos", acknowledged=acknowledged))
    assert kinds(effects) == []
    assert alarm.mode == ("acknowledged" if acknowledged else "alert")
    assert told(alarm.press(10, 1)) == [("cancelled", "old", "wearer", None)]


def test_what_a_restart_must_know_is_the_alert_that_guardians_know() -> None:
    told_alerts = {mode: brought_to(mode).told_alert for mode in ("armed", "pre_alert", "alert", "disarmed")}
    assert [mode for mode, standing in told_alerts.items() if standing] == ["alert"]
    first = in_second_pre_alert().told_alert
    assert first is not None
    assert (first.id, first.acknowledged) == ("id-1", True)


def test_a_told_becomes_an_event_of_the_contract() -> None:
    [effect] = brought_to("pre_alert").tick(110)
    event = effect.event("outcry", at=format_at(0), place="kitchen")
    assert decode_event(encode(event)) == event
    assert (event.kind, event.id, event.danger, event.place) == ("alert", "id-1", 0.9, "kitchen")
    unset = effect.event("outcry", at=None)
    assert (unset.clock, unset.place) == ("unsynchronised", None)
