"""What P4 prints: figures by network, class and origin, and the seconds of its machine."""

from training.reproductions.study import PaperFigures

WEIGHTS = {
    "fused": 0.186,
    "cnn1d-lstm": 0.201,
    "cnn2d-lstm": 0.279,
    "lstm-cnn-2d": 0.125,
    "lstm-cnn-1d": 0.075,
    "cnn-transformer": 0.134,
}
"""What the paper's genetic algorithm found; in this order an ensemble's members stand."""

CLASSES = ("fear", "angry", "happy", "disgust", "sad", "neutral", "surprise")

PAPER = PaperFigures(
    accuracy={
        "cnn2d-lstm": 0.7137,
        "cnn1d-lstm": 0.6256,
        "cnn1d-lstm-chroma": 0.6222,
        "cnn1d-lstm-all": 0.6068,
        "fused": 0.7107,
        "lstm-cnn-1d": 0.5697,
        "lstm-cnn-1d-mfcc": 0.5663,
        "lstm-cnn-1d-all": 0.5623,
        "lstm-cnn-2d": 0.5539,
        "cnn-transformer": 0.7008,
        "stacking": 0.7201,
        "average": 0.7315,
        "genetic": 0.7453,
        "cnn1d-lstm-chroma-unscaled": 0.593,
    },
    f1_macro={
        "cnn2d-lstm": 0.7329,
        "cnn1d-lstm": 0.6412,
        "cnn1d-lstm-chroma": 0.6395,
        "cnn1d-lstm-all": 0.6233,
        "fused": 0.7254,
        "lstm-cnn-1d": 0.5865,
        "lstm-cnn-1d-mfcc": 0.5831,
        "lstm-cnn-1d-all": 0.5832,
        "lstm-cnn-2d": 0.5679,
        "cnn-transformer": 0.7212,
        "stacking": 0.7345,
        "average": 0.7493,
        "genetic": 0.7630,
    },
    by_class={
        "cnn2d-lstm": dict(zip(CLASSES, (0.787, 0.703, 0.637, 0.681, 0.768, 0.644, 0.910), strict=True)),
        "genetic": dict(zip(CLASSES, (0.808, 0.710, 0.674, 0.741, 0.801, 0.679, 0.928), strict=True)),
    },
    by_origin={
        "cnn2d-lstm": {"TESS": 0.998, "CREMA-D": 0.613, "SAVEE": 0.595, "RAVDESS": 0.672},
        "genetic": {"TESS": 1.0, "CREMA-D": 0.644, "SAVEE": 0.689, "RAVDESS": 0.756},
    },
    parameters={"cnn2d-lstm": 3.8e6, "cnn-transformer": 2.1e6},
    seconds_per_1000={
        name: seconds / 2.022
        for name, seconds in {
            "cnn2d-lstm": 4.13,
            "cnn1d-lstm": 0.73,
            "fused": 11.13,
            "lstm-cnn-1d": 0.78,
            "lstm-cnn-2d": 1.64,
            "cnn-transformer": 2.15,
            "stacking": 26.68,
        }.items()
    },
)
