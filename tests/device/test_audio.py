"""Files as sound: every format the same road, every bad file one clear line."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.audio import SAMPLE_RATE, Chunk, Recording, Resampler, read_samples
from device.errors import BadDataError, MissingInputError, OutcryError
from tests.another_user import said_of


def tone(rate_hz: int, seconds: float = 1.0, hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    """A sine, float64 (n,)."""
    return level * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


FORMATS = {
    "wav": {},
    "flac": {},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {},
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_rate_and_channel_count_gives_the_same_sound(tmp_path, suffix, rate_hz, channels):
    if suffix == "opus" and rate_hz == 44_100:
        rate_hz = 24_000  # Opus knows no 44.1 kHz
    path = tmp_path / f"clip.{suffix}"
    frames = np.repeat(tone(rate_hz)[:, None], channels, axis=1)
    soundfile.write(path, frames, rate_hz, **FORMATS[suffix])
    samples = read_samples(path)
    assert samples.dtype == np.int16
    assert samples.ndim == 1
    assert abs(len(samples) - SAMPLE_RATE) <= 0.1 * SAMPLE_RATE  # MP3 pads
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    assert loudest_hz(middle) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean((middle / 32_768) ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_samples_at_16_khz_come_through_bit_for_bit(tmp_path):
    wanted = np.random.default_rng(1).integers(-32_768, 32_768, 40_000).astype(np.int16)
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"clip.{suffix}", wanted, SAMPLE_RATE)
        np.testing.assert_array_equal(read_samples(tmp_path / f"clip.{suffix}"), wanted)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_sample_widths(tmp_path, subtype):
    soundfile.write(tmp_path / "clip.wav", tone(SAMPLE_RATE), SAMPLE_RATE, subtype=subtype)
    np.testing.assert_allclose(read_samples(tmp_path / "clip.wav") / 32_768, tone(SAMPLE_RATE), atol=0.02)


def test_too_loud_float_samples_are_clipped_not_wrapped(tmp_path):
    soundfile.write(tmp_path / "clip.wav", 3 * tone(SAMPLE_RATE), SAMPLE_RATE, subtype="FLOAT")
    samples = read_samples(tmp_path / "clip.wav")
    assert (samples.min(), samples.max()) == (-32_768, 32_767)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.integers(10, 60_000),
    rate_hz=st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000, 96_000]),
    chunk_ms=st.sampled_from([10, 20, 100, 250]),
)
def test_chunks_join_to_the_whole_and_tell_their_time(tmp_path, frames, rate_hz, chunk_ms):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(frames).uniform(-0.9, 0.9, frames), rate_hz)
    recording = Recording(path, chunk_ms)
    chunks = list(recording)
    whole = read_samples(path)
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), whole)
    assert recording.seconds == frames / rate_hz
    assert abs(len(whole) - frames * SAMPLE_RATE / rate_hz) <= 1
    assert all(len(chunk.samples) == 16 * chunk_ms for chunk in chunks[:-1])
    ends = np.cumsum([len(chunk.samples) for chunk in chunks]) / SAMPLE_RATE
    np.testing.assert_allclose([chunk.heard_at for chunk in chunks], ends)
    assert not any(chunk.gap for chunk in chunks)
    assert sum(chunk.seconds for chunk in chunks) == pytest.approx(len(whole) / SAMPLE_RATE)
    assert len(list(recording)) == len(chunks)  # a second pass starts anew


@settings(max_examples=30, deadline=None)
@given(
    rate_hz=st.sampled_from([16_000, 44_100, 48_000]),
    cuts=st.lists(st.integers(1, 3_000), min_size=1, max_size=12),
)
def test_resampling_does_not_depend_on_the_blocks(rate_hz, cuts):
    frames = np.random.default_rng(sum(cuts)).uniform(-0.9, 0.9, (sum(cuts), 2)).astype(np.float32)
    whole = Resampler(rate_hz).push(frames, last=True)
    resampler, parts, start = Resampler(rate_hz), [], 0
    for index, cut in enumerate(cuts):
        parts.append(resampler.push(frames[start : start + cut], last=index == len(cuts) - 1))
        start += cut
    joined = np.concatenate(parts)
    assert len(joined) == len(whole)
    assert np.abs(joined.astype(int) - whole).max(initial=0) <= 1


def test_missing_file(tmp_path):
    with pytest.raises(MissingInputError, match=r"nowhere\.wav: no such file") as caught:
        Recording(tmp_path / "nowhere.wav")
    assert caught.value.code == 66
    with pytest.raises(MissingInputError, match="can't be read"):
        read_samples("nul\0byte.wav")


def test_folder_fifo_and_empty_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would wait for ever
    (tmp_path / "empty.wav").touch()
    for name, words in [(".", "is a folder"), ("pipe.wav", "not a regular file"), ("empty.wav", "is empty")]:
        with pytest.raises(BadDataError, match=words) as caught:
            Recording(tmp_path / name)
        assert caught.value.code == 65


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.wav", b"hello, this is no sound\n" * 100),
        ("zeros.opus", bytes(5_000)),
        ("header.wav", b"RIFF\x10\x00\x00\x00WAVE"),
        ("bytes.raw", b"\x01\x02" * 100),
        ("sync.mp3", b"\xff\xfb" + bytes(500)),
        ("picture.flac", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10),
    ],
)
def test_what_is_no_sound(tmp_path, capfd, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadDataError, match=rf"{name}: ") as caught:
        read_samples(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # decoders stay silent: one line of ours is enough


@pytest.mark.parametrize("frames", [0, 1])
def test_a_wav_without_samples(tmp_path, frames):
    soundfile.write(tmp_path / "none.wav", np.zeros(frames), 48_000)
    with pytest.raises(BadDataError, match="holds no sound"):
        Recording(tmp_path / "none.wav")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, capfd, suffix, kept):
    path = tmp_path / f"clip.{suffix}"
    noise = np.random.default_rng(2).uniform(-0.3, 0.3, 5 * SAMPLE_RATE)
    soundfile.write(path, noise, SAMPLE_RATE, **FORMATS[suffix])
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(BadDataError, match=rf"clip\.{suffix}: .*(cut short|malformed)") as caught:
        for _ in Recording(path):
            pass
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_wav_written_into_a_pipe_is_whole(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(SAMPLE_RATE), SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # what ffmpeg and sox write when they can't seek back
    path.write_bytes(data)
    assert len(read_samples(path)) == SAMPLE_RATE


def test_samples_that_are_not_numbers(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.array([0.0, np.nan, np.inf]), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(BadDataError, match="not numbers"):
        read_samples(tmp_path / "clip.wav")


def test_an_implausible_rate(tmp_path):
    soundfile.write(tmp_path / "clip.wav", tone(SAMPLE_RATE), 7)
    with pytest.raises(BadDataError, match="claims a rate of 7 Hz"):
        Recording(tmp_path / "clip.wav")


def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "secret.wav"
    soundfile.write(path, tone(SAMPLE_RATE), SAMPLE_RATE)
    path.chmod(0)
    said = said_of(
        path,
        "from device.audio import Recording; from device.errors import OutcryError\n"
        "try: Recording(sys.argv[1])\nexcept OutcryError as error: print(error.code, error)",
    )
    assert said.startswith("66 ")
    assert "permission denied" in said


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from(sorted(FORMATS)))
def test_any_damage_gives_sound_or_one_line(tmp_path, data, suffix):
    """Fuzz: flip, cut and insert bytes in a whole file of each format; only our errors may come out."""
    path = tmp_path / f"fuzz.{suffix}"
    soundfile.write(path, tone(8_000, 0.2), 8_000, **FORMATS[suffix])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
        if not content:
            content = bytearray(b"\0")
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    outcome: np.ndarray | OutcryError
    try:
        outcome = read_samples(path)
    except OutcryError as error:
        outcome = error
    if isinstance(outcome, OutcryError):
        assert outcome.code in (65, 66)
        assert "\n" not in str(outcome)
    else:
        assert outcome.dtype == np.int16


def test_chunk_duration():
    assert Chunk(np.zeros(1_600, np.int16), 1.0).seconds == 0.1
