"""The microphone without sound hardware: its names, who holds it, its bytes, and calls that hang."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import MissingInputError, SoundHangError, UsageError
from device.sound.cards import Card, cards, holders
from device.sound.intake import BLOCK_MS, QUEUE_S, Intake, StreamFormat
from device.sound.microphone import HARDWARE_FORMATS, SHARED_FORMATS, Microphone
from device.sound.portaudio import MicrophoneBusyError, MicrophoneInfo, choose, within

USB = Card(1, "Device", "USB PnP Sound Device", "1-1.3")
I2S = Card(0, "sndrpigooglevoi", "snd_rpi_googlevoicehat_soundcar")


def info(index: int, name: str, card: Card | None = None, default: bool = False) -> MicrophoneInfo:
    return MicrophoneInfo(
        index, name, card.id if card else None, card.usb_path if card else None, 2, 44_100, default, card
    )


HEARD = [
    info(0, "snd_rpi_googlevoicehat_soundcar: - (hw:0,0)", I2S),
    info(3, "USB PnP Sound Device: Audio (hw:1,0)", USB),
    info(7, "pulse"),
    info(8, "default", default=True),
]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("", 8),
        ("default", 8),
        ("pulse", 7),
        ("Device", 3),
        ("1-1.3", 3),
        ("usb:1-1.3", 3),
        ("usb pnp", 3),
        ("googlevoicehat", 0),
        ("sndrpigooglevoi", 0),
        ("USB PnP Sound Device: Audio (hw:1,0)", 3),
    ],
)
def test_a_microphone_is_found_by_its_stable_names(name, index):
    assert choose(name, HEARD, known=[USB, I2S]).index == index


def test_it_is_found_again_under_another_number():
    moved = Card(4, "Device", "USB PnP Sound Device", "1-1.3")
    again = [info(0, "pulse", default=True), info(1, "USB PnP Sound Device: Audio (hw:4,0)", moved)]
    assert choose("Device", again, known=[moved]).index == 1
    assert choose("1-1.3", again, known=[moved]).index == 1


def test_a_card_id_goes_before_part_of_a_name():
    other = Card(2, "Mic", "Something", None)
    found = [info(0, "Microphone of a webcam (hw:5,0)", Card(5, "C920", "Microphone webcam")), info(1, "x", other)]
    assert choose("Mic", found, known=[]).index == 1


def test_an_unknown_name_tells_what_there_is():
    with pytest.raises(MissingInputError, match=r"'Jabra'.*USB PnP.*card Device, usb 1-1\.3.*default"):
        choose("Jabra", HEARD, known=[USB])
    with pytest.raises(MissingInputError, match="no microphone found"):
        choose("", [info(7, "pulse")], known=[])


def test_a_card_that_portaudio_could_not_open_is_busy_and_not_missing():
    with pytest.raises(MicrophoneBusyError, match="USB PnP Sound Device"):
        choose("Device", [info(7, "pulse", default=True)], known=[USB])


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A /proc and a /sys with an I2S and a USB card; PipeWire and arecord use the USB one."""
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    for number, identity in [(0, "sndrpigooglevoi"), (1, "Device")]:
        (proc / f"asound/card{number}/pcm0c/sub0").mkdir(parents=True)
        (proc / f"asound/card{number}/id").write_text(f"{identity}\n")
        (proc / f"asound/card{number}/pcm0c/sub0/status").write_text("closed\n")
        (sys / "class/sound").mkdir(parents=True, exist_ok=True)
    (proc / "asound/cards").write_text(
        " 0 [sndrpigooglevoi]: RPi-simple - snd_rpi_googlevoicehat_soundcar\n"
        "                      snd_rpi_googlevoicehat_soundcar\n"
        " 1 [Device         ]: USB-Audio - USB PnP Sound Device\n"
        "                      C-Media Electronics Inc. USB PnP Sound Device at usb-1.3\n"
    )
    usb = sys / "devices/platform/soc/20980000.usb/usb1/1-1/1-1.3/1-1.3:1.0"
    i2s = sys / "devices/platform/soc/soc:sound"
    for number, device in [(0, i2s), (1, usb)]:
        (device / f"sound/card{number}").mkdir(parents=True)
        (device / f"sound/card{number}/device").symlink_to(device)
        (sys / f"class/sound/card{number}").symlink_to(device / f"sound/card{number}")
    (proc / "asound/card1/pcm0c/sub0/status").write_text("state: RUNNING\nowner_pid   : 815\n")
    for pid, leader, name in [(812, 812, "pipewire"), (815, 812, "data-loop.0"), (900, 900, "arecord")]:
        (proc / f"{pid}/fd").mkdir(parents=True)
        (proc / f"{pid}/comm").write_text(f"{name}\n")
        (proc / f"{pid}/status").write_text(f"Name:\t{name}\nTgid:\t{leader}\nPid:\t{pid}\n")
    (proc / "900/fd/4").symlink_to("/dev/snd/pcmC1D0c")
    (proc / "900/fd/5").symlink_to("/dev/snd/pcmC1D0p")
    (proc / "812/fd/9").symlink_to("/dev/snd/controlC1")
    return tmp_path


def test_cards_of_a_pi(machine):
    assert cards(machine / "proc", machine / "sys") == [I2S, USB]
    assert cards(machine / "nowhere", machine) == []


def test_who_holds_a_card(machine):
    assert holders(USB, machine / "proc") == ["pipewire (pid 815)", "arecord (pid 900)"]
    assert holders(I2S, machine / "proc") == []


def test_this_process_is_no_holder_and_strangers_have_no_name(machine):
    proc = machine / "proc"
    (proc / "asound/card1/pcm0c/sub0/status").write_text(f"owner_pid : {os.getpid()}\n")
    (proc / "900/comm").unlink()
    assert holders(USB, proc) == ["a process of another user (pid 900)"]


def test_a_call_that_hangs_is_given_up_and_the_rest_goes_on():
    released = threading.Event()
    started = time.monotonic()
    with pytest.raises(SoundHangError, match=r"close\(\) did not return within 0\.2 s") as caught:
        within(0.2, "close()", released.wait)
    assert time.monotonic() - started < 5
    assert caught.value.code == 69
    released.set()


def test_a_call_gives_its_result_or_its_error():
    assert within(5, "open()", lambda: 42) == 42
    with pytest.raises(OSError, match="Invalid input device"):
        within(5, "open()", lambda: exec("raise OSError('Invalid input device')"))


def test_reading_a_closed_microphone_is_a_mistake():
    with pytest.raises(UsageError, match="open it before reading"):
        Microphone().read(0.0)


def test_formats_that_are_tried():
    assert SHARED_FORMATS[0] == StreamFormat(16_000, 16, 1)
    assert {each.rate_hz for each in HARDWARE_FORMATS} >= {16_000, 44_100, 48_000}
    assert {each.bits for each in HARDWARE_FORMATS} == {16, 32}
    assert {each.channels for each in HARDWARE_FORMATS} == {1, 2}
    assert str(StreamFormat(48_000, 32, 2)) == "48000 Hz, 32 bit, stereo"


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("channels", [1, 2])
def test_bytes_become_frames(bits, channels):
    wanted = np.array([[0.5, -0.25][:channels], [-1.0, 0.0][:channels]])
    scale = 2 ** (bits - 1)
    data = (wanted * scale).astype(f"<i{bits // 8}").tobytes()
    np.testing.assert_allclose(StreamFormat(16_000, bits, channels).frames(data), wanted)


def blocks(kind: StreamFormat, number: int, seed: int = 0) -> list[bytes]:
    frames = kind.rate_hz * BLOCK_MS // 1_000
    rng = np.random.default_rng(seed)
    return [rng.integers(-9_000, 9_000, frames * kind.channels).astype("<i2").tobytes() for _ in range(number)]


@settings(max_examples=25, deadline=None)
@given(
    rate_hz=st.sampled_from([16_000, 44_100, 48_000]),
    chunk_ms=st.sampled_from([20, 50, 100, 130]),
    bursts=st.lists(st.integers(0, 20), max_size=10),
)
def test_every_chunk_is_as_long_as_asked_and_nothing_is_lost(rate_hz, chunk_ms, bursts):
    kind = StreamFormat(rate_hz, 16, 1)
    intake, chunks = Intake(kind, chunk_ms), []
    for number in bursts:
        for block in blocks(kind, number):
            intake.put(block)
        while (chunk := intake.read(0.0)) is not None:
            chunks.append(chunk)
    sound_s = sum(bursts) * BLOCK_MS / 1_000
    times = [chunk.heard_at for chunk in chunks]
    assert times == sorted(times)
    assert len(chunks) == int(sound_s * 1_000 + 0.5) // chunk_ms
    if rate_hz == 16_000:
        assert all(len(chunk.samples) == 16 * chunk_ms for chunk in chunks)
    assert [chunk.gap for chunk in chunks] == [True, *[False] * (len(chunks) - 1)][: len(chunks)]
    assert intake.take_lost_s() == 0


def test_a_full_queue_drops_the_oldest_counts_it_and_marks_the_gap():
    kind = StreamFormat(16_000, 16, 1)
    intake = Intake(kind, 100)
    sound = blocks(kind, 300)
    for block in sound[:7]:
        intake.put(block)
    assert intake.read(0.0) is not None
    for block in sound[7:]:
        intake.put(block)
    kept = round(QUEUE_S * 1_000 / BLOCK_MS)
    chunk = intake.read(0.0)
    assert chunk is not None
    assert chunk.gap
    newest = np.frombuffer(b"".join(sound[-kept:]), np.int16)
    np.testing.assert_array_equal(chunk.samples, newest[:1_600])
    assert intake.take_lost_s() == pytest.approx((300 - 5 - kept) * BLOCK_MS / 1_000)
    assert intake.take_lost_s() == 0
    assert not intake.read(0.0).gap


def test_reading_waits_no_longer_than_asked_and_wakes_at_once():
    kind = StreamFormat(16_000, 16, 1)
    intake = Intake(kind, 20)
    started = time.monotonic()
    assert intake.read(0.1) is None
    assert 0.09 <= time.monotonic() - started < 5
    threading.Timer(0.1, intake.put, [blocks(kind, 1)[0]]).start()
    chunk = intake.read(30)
    assert chunk is not None
    assert time.monotonic() - chunk.heard_at < 5
