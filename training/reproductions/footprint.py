"""What a published network would weigh on a device: the bytes of its int8 .tflite, where it converts at all.

The converter can end the whole process on a network that it can't handle (a recurrent loop, seen with
TensorFlow 2.21), so it runs in one of its own, and its end becomes a reason in the report.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from training.networks import gru, paper_gru  # noqa: F401  (registers their layers, which a saved network names)
from training.places import HOME
from training.reproductions.fitting import Inputs

CALIBRATION_CLIPS = 32
LIMIT_S = 1800.0


def int8_size(network: keras.Model, inputs: Inputs, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """{"int8_bytes": n} of a network calibrated on the first clips of `inputs`, or {"int8_reason": ...}."""
    parts = inputs if isinstance(inputs, list) else [inputs]
    with tempfile.TemporaryDirectory(prefix="outcry-int8-") as folder:
        network.save(Path(folder) / "network.keras")
        np.savez(Path(folder) / "clips.npz", *[part[:CALIBRATION_CLIPS] for part in parts])
        environment = dict(os.environ, KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "training.reproductions.footprint", folder],
                cwd=HOME,
                env=environment,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"int8_reason": f"the converter took more than {limit_s:.0f} s"}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0 and last.isdigit():
        return {"int8_bytes": int(last)}
    if done.returncode < 0:
        return {"int8_reason": f"the converter crashes (signal {-done.returncode})"}
    told = (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
    return {"int8_reason": f"the converter ended with {done.returncode}: {told}"}


def _unrolled(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer as it is, but for an LSTM, whose steps are written out: the converter can't take a loop."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.LSTM):
        config["unroll"] = True
    return layer.__class__.from_config(config)


def _written_out(step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Sequence[Any]) -> tuple[Any, Any]:
    """`ops.scan` without a loop in the graph, for our own GRU."""
    stacked = []
    for number in range(inputs[0].shape[0]):
        carry, told = step(carry, [one[number] for one in inputs])
        stacked.append(told)
    return carry, [ops.stack(parts) for parts in zip(*stacked, strict=True)]


def _convert(folder: Path) -> int:
    """Bytes of the int8 flatbuffer of folder/network.keras, calibrated on folder/clips.npz."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    ops.scan = _written_out
    trained = keras.saving.load_model(folder / "network.keras", compile=False)
    network = keras.models.clone_model(trained, clone_function=_unrolled)
    network.set_weights(trained.get_weights())
    with np.load(folder / "clips.npz") as kept:
        parts = [kept[name] for name in kept.files]
    shapes = [tf.TensorSpec((1, *part.shape[1:]), tf.float32, name=f"in_{n}") for n, part in enumerate(parts)]
    function = tf.function(lambda *sounds: network(list(sounds) if len(sounds) > 1 else sounds[0], training=False))
    # Variables become constants first: the calibrator can't read them.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*shapes))
    order = [int(tensor.name.split(":")[0].split("_")[1]) for tensor in frozen.inputs]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [parts[n][clip : clip + 1] for n in order] for clip in range(len(parts[0]))
    )
    return len(converter.convert())


if __name__ == "__main__":
    print(_convert(Path(sys.argv[1])))
