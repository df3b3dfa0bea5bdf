"""The other papers' networks on P4's clips: with them all systems stand on the same unseen speakers.

Each keeps its paper's features, size and recipe; only classes, clips and epochs are P4's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.networks import cnn2d_smote, conv1d, conv2d, lstm, paper_gru
from training.paper_features import SMOTE, SONG, PaperParameters, Scaler, frames_of, means, pad
from training.reproductions import enhanced_gru, lstm_song, smote_2dcnn
from training.reproductions.fitting import Inputs, Recipe
from training.reproductions.study import Variant
from training.sound import SAMPLE_RATE

GROUP = "other papers"
HOUSE = ("house",)
STEPS = int(enhanced_gru.LONGEST_S * 100) // enhanced_gru.COARSER


@dataclass(frozen=True, slots=True)
class Other:
    """One network: how it is built for a number of classes, trained, and what its inputs are."""

    name: str
    build: Callable[[int], keras.Model]
    recipe: Recipe
    inputs: str
    clip_s: float
    features: PaperParameters


def others() -> Iterator[Other]:
    """P1's two, P2's three and P3's."""
    gru = partial(paper_gru.build, STEPS, enhanced_gru.MFCC, units=enhanced_gru.UNITS)
    # P1's features are the device's own: the one table takes their cost from ours, not from these.
    mfcc = PaperParameters(mfcc=enhanced_gru.MFCC, window_samples=400, hop_samples=160)
    for name, options in (("p1-gru-base", enhanced_gru.BASE), ("p1-gru-enhanced", enhanced_gru.BEST)):
        built = partial(gru, **options)
        yield Other(name, partial(_with_classes, built), enhanced_gru.RECIPE, "gru", enhanced_gru.LONGEST_S, mfcc)
    song_s = lstm_song.FRAMES * SONG.hop_samples / SAMPLE_RATE
    for name, build in (("p2-lstm", lstm.second), ("p2-conv1d", conv1d.build), ("p2-conv2d", conv2d.build)):
        yield Other(
            name, partial(_with_classes, partial(build, lstm_song.FRAMES)), lstm_song.LONG, "song", song_s, SONG
        )
    two = partial(cnn2d_smote.build, smote_2dcnn.ROWS, smote_2dcnn.COLUMNS)
    yield Other("p3-2dcnn", partial(_with_classes, two), smote_2dcnn.RECIPE, "means", smote_2dcnn.SECONDS, SMOTE)


def variants(classes: int) -> Iterator[Variant]:
    """They as variants of P4's study."""
    for other in others():
        yield Variant(other.name, GROUP, partial(other.build, classes), other.recipe, HOUSE, other.inputs)


def inputs(kind: str, table: pd.DataFrame, root: Path, training: NDArray[np.int64]) -> Inputs:
    """The inputs of all clips as their own paper has them, scaled by the training side."""
    if kind == "gru":
        frames, valid = enhanced_gru.sequences(table, root, enhanced_gru.COARSER, enhanced_gru.LONGEST_S)
        scaler = Scaler.fit([frames[row][valid[row] > 0] for row in training])
        return [pad(list(scaler.apply(frames) * valid[:, :, None]), STEPS), pad(list(valid[:, :, None]), STEPS)[..., 0]]
    if kind == "means":
        raw = means(frames_of(table, root, SMOTE))
        return smote_2dcnn.filled(Scaler.fit(raw[training]).apply(raw))
    return lstm_song.scaled(frames_of(table, root, SONG), training)


def _with_classes(build: Callable[..., keras.Model], classes: int) -> keras.Model:
    return build(classes=classes)
