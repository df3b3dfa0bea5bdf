"""One picture of every augmentation: what it does to the log mel energies of a recording."""

from __future__ import annotations

from pathlib import Path

import audiomentations
import click
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from device.audio import read_samples
from device.features import SAMPLE_RATE, dct_matrix, features
from training.augment import Wave, body, codec, mix, room, rustle, speed
from training.frame_augment import channel, paced, spec_augment, throats, with_noise, with_throats
from training.places import corpora_root

mpl.use("Agg")
from matplotlib import pyplot as plt


def energies(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log mel energies (40, n) of frames (n, F)."""
    matrix = dct_matrix()
    return np.asarray((frames[:, : matrix.shape[1]] @ matrix.T).T, np.float32)


def draw(samples: Wave, noise: Wave, response: Path, to: Path, seed: int = 5) -> None:
    """Draw `samples` (float32, 16 kHz) and each change of it into the PNG `to`."""
    rng = np.random.default_rng(seed)
    np.random.seed(seed)
    behind = np.resize(noise, len(samples))
    real_room = audiomentations.ApplyImpulseResponse([str(response)], p=1.0)
    equaliser = audiomentations.SevenBandParametricEQ(-9, 9, p=1.0)
    hiss = audiomentations.AddGaussianSNR(min_snr_db=15, max_snr_db=15, p=1.0)
    clipping = audiomentations.ClippingDistortion(15, 15, p=1.0)
    waves = {
        "as recorded": samples,
        "speed": speed(samples, rng),
        "gain -20 dB": samples * 0.1,
        "background at 5 dB SNR": mix(samples, behind, 5.0),
        "hiss at 15 dB SNR": hiss(samples, SAMPLE_RATE),
        "clothing rustle": rustle(samples, rng),
        "under a jacket": body(samples, rng),
        "made room": room(samples, rng),
        "measured room": np.asarray(real_room(samples, SAMPLE_RATE), np.float32),
        "equaliser": equaliser(samples, SAMPLE_RATE),
        "clipping": clipping(samples, SAMPLE_RATE),
        "codec": codec(samples, rng),
    }
    frames = {name: features(np.asarray(wave, np.float32)) for name, wave in waves.items()}
    plain = frames["as recorded"]
    other = channel(1, rng)[0]
    frames["channel (on frames)"] = plain + np.pad(other, (0, plain.shape[1] - len(other)))
    frames["throat (on frames)"] = with_throats(plain[None], *throats(1, rng, chance=1.0))[0]
    frames["pace (on frames)"] = paced(plain, len(plain), rng, chance=1.0)
    frames["background at 5 dB SNR (on frames)"] = with_noise(plain, features(behind), 5.0)
    frames["SpecAugment (on frames)"] = spec_augment(plain[None].copy(), rng, chance=1.0)[0]
    half = frames["background at 5 dB SNR"][: len(plain)]
    frames["mixup with the reversed clip (on views)"] = 0.6 * plain + 0.4 * half[::-1]
    figure, axes = plt.subplots(6, 3, figsize=(13, 15.6), constrained_layout=True)
    low, high = np.percentile(energies(plain), [2, 99.5])
    for axis, (name, some) in zip(axes.flat, frames.items(), strict=True):
        axis.imshow(
            energies(some),
            origin="lower",
            aspect="auto",
            vmin=low,
            vmax=high,
            cmap="magma",
            extent=(0, len(some) / 100, 0, 40),
        )
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("s", fontsize=8)
        axis.set_ylabel("mel band", fontsize=8)
    figure.savefig(to, dpi=50)
    plt.close(figure)
    # 256 colours are enough for one colour map, and a third of the file.
    with Image.open(to) as drawn:
        drawn.convert("RGB").quantize(256).save(to, optimize=True)


@click.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (default: OUTCRY_CORPORA).")
def main(picture: Path, recording: Path, corpora: Path | None) -> None:
    """Draw what every augmentation makes of RECORDING into PICTURE (PNG)."""
    root = corpora_root(corpora)
    noise = root / "Background" / "ambient-blanket" / "coffee-shop.opus"
    voice, behind = (read_samples(path).astype(np.float32) / 32768 for path in (recording, noise))
    draw(voice, behind, root / "Rooms" / "sb" / "RIRs" / "rir1.flac", picture)
    click.echo(str(picture))
