"""Makes `device/voice/ordinary_speech.npz`: outlines of everyday sounds of speech, which no enrolled call may be like.

    python -m training.ordinary_speech CORPORA

Every sixth file of `Speech/` (read English, single words, prompts) from the fourth on, cut into single sounds by
the device's own code; of each its length and its mean frame in six parts, int8. tests/acceptance/call_bar.py
measures on other files.
"""

import argparse
from pathlib import Path

import numpy as np

from device.audio import read_samples
from device.enrol import ORDINARY, sounds_of
from device.voice.call import parts

KINDS = ("read-en", "words-en", "prompts")
EVERY = 6
FROM = 3
MOST = 300


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    corpora = parser.parse_args().corpora
    found = []
    for kind in KINDS:
        files = sorted((corpora / "Speech" / kind).rglob("*.opus"))[FROM::EVERY]
        found += [sound for file in files for sound in sounds_of(read_samples(file))]
    chosen = [found[at] for at in np.random.default_rng(0).permutation(len(found))[:MOST]]
    means = np.stack([parts(sound) for sound in chosen])
    scale = np.abs(means).max(axis=(0, 1)) / 127
    np.savez_compressed(
        ORDINARY,
        means=np.round(means / scale).astype(np.int8),
        scale=scale.astype(np.float32),
        frames=np.array([len(sound) for sound in chosen], np.int16),
    )
    print(f"{len(chosen)} of {len(found)} sounds in {ORDINARY}")


if __name__ == "__main__":
    main()
