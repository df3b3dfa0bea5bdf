"""Our own network in a paper's protocol: the shipped recipe, trained anew on that split's training clips alone."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.corpora.clip import CLASSES
from training.index import index_hash
from training.places import HOME
from training.reproductions.protocol import Clips, Split, score
from training.runs import Run, load_recipe

if TYPE_CHECKING:
    from training.train import DangerRecipe

SHIPPED = HOME / "training" / "recipes" / "danger.toml"
FREE_SLOT = "disgust"
"""Our classes are fixed, and songs have no disgust: its output learns calm where a paper tells calm from neutral."""


def relabelled(clips: Clips) -> pd.DataFrame:
    """The table with `emotion` as a paper labels it; calm in the slot of a class that the paper lacks.

    Surprise, which our network does not know, keeps its name: it is never learnt, and always judged wrong.
    """
    told = clips.table["label"]
    if "calm" in clips.classes:
        if FREE_SLOT in clips.classes:
            raise ValueError(f"calm needs the slot of {FREE_SLOT}, which is a class here")
        told = told.replace("calm", FREE_SLOT)
    return clips.table.assign(emotion=told)


def in_classes(emotion: NDArray[np.float32], classes: tuple[str, ...]) -> NDArray[np.float32]:
    """Probabilities (clips, classes) of a paper's classes from our logits (clips, 8)."""
    slots = [FREE_SLOT if name == "calm" else name for name in classes]
    logits = np.full((len(emotion), len(classes)), -np.inf, np.float32)
    for column, name in enumerate(slots):
        if name in CLASSES:
            logits[:, column] = emotion[:, CLASSES.index(name)]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def recipe(epochs: int | None, *, quick: bool) -> "DangerRecipe":
    """The shipped recipe, with other epochs where asked, and next to nothing of it for a proof."""
    from training.train import DangerRecipe

    shipped = load_recipe(SHIPPED, DangerRecipe)
    if quick:
        shipped = msgspec.structs.replace(shipped, steps=2, copies=0, epochs=2)
    shipped = msgspec.structs.replace(shipped, epochs=epochs or shipped.epochs)
    return msgspec.structs.replace(shipped, average_last=min(shipped.average_last, shipped.epochs))


def work(
    clips: Clips, part: Split, root: Path, shipped: "DangerRecipe"
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Train the recipe on the split's training side and score its test side; as Study.work."""
    from device.view import ViewParameters
    from training import train

    plan = msgspec.structs.replace(shipped, seed=part.seed + 1)
    table = relabelled(clips)
    side = pd.Series("validation", index=table.index, dtype="object")
    side.iloc[part.training] = "train"
    copies = train.make_copies(table, side, root, plan.copies)
    with tempfile.TemporaryDirectory(prefix="outcry-ours-") as folder:
        run = Run.begin(Path(folder) / "run", plan, index=index_hash(table), seed=plan.seed)
        network = train.fit(plan, table, side, copies, run)
        view = msgspec.json.decode((run.folder / "view.json").read_bytes(), type=ViewParameters)
    emotion, _ = train.predict(network, view, [copies[0].clip(int(row)) for row in part.test])
    probabilities = in_classes(emotion, clips.classes)
    figures = score(clips, part.test, probabilities) | {"parameters": int(network.count_params())}
    return figures, {"rows": part.test, "probabilities": probabilities}
