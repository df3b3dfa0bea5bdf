"""The sealed clip: only where a key is configured, only around an alert, only for whoever holds the private half."""

import io
import logging
import wave
from pathlib import Path

import numpy as np
import pytest
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from device import config
from device.audio import Chunk
from device.telling import clip
from device.telling.clip import ClipKeeper

RATE = 16_000
KEY = PrivateKey.generate()


def made(directory: Path, seconds: float = 2.0, most_bytes: int = clip.MOST_BYTES) -> ClipKeeper:
    return ClipKeeper(bytes(KEY.public_key), directory / "clips", seconds, most_bytes)


def second(number: int) -> list[Chunk]:
    """Return one second of sound, whose samples all say which second it is."""
    samples = np.full(RATE // 10, number, np.int16)
    return [Chunk(samples, number + (tenth + 1) / 10) for tenth in range(10)]


def hear(keeper: ClipKeeper, seconds: range) -> None:
    for number in seconds:
        for chunk in second(number):
            keeper.heard(chunk)
            keeper.tick(chunk.heard_at)


def opened(file: Path, key: PrivateKey = KEY) -> tuple[int, np.ndarray]:
    with wave.open(io.BytesIO(SealedBox(key).decrypt(file.read_bytes()))) as sound:
        frames = sound.readframes(sound.getnframes())
        return sound.getframerate(), np.frombuffer(frames, "<i2")


def test_without_a_key_there_is_no_keeper() -> None:
    assert clip.from_config(config.Config()) is None


def test_with_a_key_there_is_one_in_the_state_directory(tmp_path: Path) -> None:
    text = f'[privacy]\nclip_public_key = "{bytes(KEY.public_key).hex()}"\nclip_s = 1\n'
    file = tmp_path / "house.toml"
    file.write_text(text)
    keeper = clip.from_config(config.load(file, {"STATE_DIRECTORY": str(tmp_path)}))
    assert keeper is not None
    hear(keeper, range(2))
    keeper.keep("id", 2.0)
    hear(keeper, range(2, 4))
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["id.wav.sealed"]


def test_without_an_alert_nothing_is_written(tmp_path: Path) -> None:
    keeper = made(tmp_path)
    hear(keeper, range(20))
    keeper.silence()
    assert list(tmp_path.iterdir()) == []


def test_the_clip_holds_the_seconds_before_and_after_the_alert(tmp_path: Path) -> None:
    keeper = made(tmp_path)
    hear(keeper, range(10))
    keeper.keep("id", 10.0)
    assert not (tmp_path / "clips").exists(), "nothing is written before the clip is whole"
    hear(keeper, range(10, 15))
    rate_hz, samples = opened(tmp_path / "clips" / "id.wav.sealed")
    assert rate_hz == RATE
    assert samples.tolist() == np.repeat([8, 9, 10, 11], RATE).tolist()


def test_only_the_private_key_opens_it_and_the_sound_does_not_lie_in_the_file(tmp_path: Path) -> None:
    keeper = made(tmp_path)
    noise = np.random.default_rng(1).integers(-999, 999, RATE).astype(np.int16)
    keeper.heard(Chunk(noise, 1.0))
    keeper.keep("id", 1.0)
    keeper.silence()
    file = tmp_path / "clips" / "id.wav.sealed"
    with pytest.raises(CryptoError):
        opened(file, PrivateKey.generate())
    assert noise[:8].tobytes() not in file.read_bytes()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_two_alerts_close_together_get_a_clip_each(tmp_path: Path) -> None:
    keeper = made(tmp_path)
    hear(keeper, range(4))
    keeper.keep("one", 4.0)
    hear(keeper, range(4, 5))
    keeper.keep("two", 5.0)
    hear(keeper, range(5, 9))
    assert len(opened(tmp_path / "clips" / "one.wav.sealed")[1]) == 4 * RATE
    assert opened(tmp_path / "clips" / "two.wav.sealed")[1][0] == 3


def test_after_disarming_nothing_of_before_is_kept(tmp_path: Path) -> None:
    keeper = made(tmp_path)
    hear(keeper, range(5))
    keeper.silence()
    hear(keeper, range(5, 6))
    keeper.keep("id", 6.0)
    keeper.silence()
    assert set(opened(tmp_path / "clips" / "id.wav.sealed")[1].tolist()) == {5}


def test_an_alert_in_deafness_leaves_no_empty_clip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = made(tmp_path)
    keeper.keep("id", 0.0)
    keeper.tick(2.0)
    assert list(tmp_path.iterdir()) == []
    assert "nothing was heard" in caplog.text


def test_the_oldest_clip_goes_first(tmp_path: Path) -> None:
    keeper = made(tmp_path, 1.0, most_bytes=3 * 2 * 2 * RATE)
    for number in range(5):
        hear(keeper, range(2))
        keeper.keep(f"{number}", 2.0)
        hear(keeper, range(2, 4))
    assert sorted(path.name[0] for path in (tmp_path / "clips").iterdir()) == ["3", "4"]


def test_a_disk_that_takes_nothing_is_a_line_in_the_log_and_leaves_no_half(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "clips").write_text("in the way")
    keeper = made(tmp_path)
    hear(keeper, range(2))
    keeper.keep("id", 2.0)
    keeper.silence()
    assert "can't be written" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_what_lies_in_memory_is_bounded(tmp_path: Path) -> None:
    keeper = made(tmp_path)
    hear(keeper, range(100))
    assert keeper._past_samples <= 2.1 * RATE
    assert sum(map(len, keeper._past)) == keeper._past_samples
