"""Our own network in a paper's protocol: the shipped recipe, trained anew on that split's training clips alone.

The shipped package was trained in three parts; here it is one, from nothing, by the recipe of the last, which has all
of its augmentations. Its steps shrink with the data, so that a clip is drawn as often as in those three parts
together. Noises and rooms, which hold no voice, are laid over copies of the clips as for the package.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from device.errors import BadDataError
from training.corpora.clip import CLASSES
from training.index import index_hash
from training.places import HOME
from training.reproductions.protocol import Clips, Split, danger_area, score
from training.runs import Run, load_recipe

if TYPE_CHECKING:
    from training.train import DangerRecipe

SHIPPED = HOME / "training" / "recipes" / "danger-speakers.toml"
PASSES = 120
"""How often the shipped package was given each of its clips: 2.4 million crops of some 20,000."""
LEAST_STEPS = 3600
"""On a few hundred clips so many passes are too few steps to learn anything: 1,260 left .85 of P2's songs right."""
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


def recipe(epochs: int | None, *, quick: bool, learns: int) -> "DangerRecipe":
    """The shipped recipe from nothing, for `learns` training clips; with other epochs where asked.

    `quick`: next to nothing of it, for a proof. Backgrounds on frames come from a corpus of theirs, which no
    paper's data have; those of the copies stay.
    """
    from training.train import DangerRecipe

    shipped = load_recipe(SHIPPED, DangerRecipe)
    total = max(LEAST_STEPS, PASSES * learns / shipped.batch)
    steps = min(shipped.steps, round(total / shipped.epochs))
    shipped = msgspec.structs.replace(shipped, start="", split="", noises=0.0, steps=steps)
    if quick:
        shipped = msgspec.structs.replace(shipped, steps=2, copies=0, epochs=2)
    shipped = msgspec.structs.replace(shipped, epochs=epochs or shipped.epochs)
    return msgspec.structs.replace(shipped, average_last=min(shipped.average_last, max(1, shipped.epochs // 4)))


def work(
    clips: Clips, part: Split, root: Path, shipped: "DangerRecipe", folder: Path
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Train the recipe on the split's training side in `folder` and score its test side; as Study.work.

    Cut in the middle, the same recipe goes on there; a run of another one is thrown away.
    """
    from device.view import ViewParameters
    from training import train
    from training.judging.floats import predict

    plan = msgspec.structs.replace(shipped, seed=part.seed + 1)
    table = relabelled(clips)
    side = pd.Series("validation", index=table.index, dtype="object")
    side.iloc[part.training] = "train"
    copies = train.make_copies(table, side, root, plan.copies)
    index = index_hash(table)
    try:
        run = Run.begin(folder, plan, index=index, seed=plan.seed)
    except BadDataError:
        shutil.rmtree(folder)
        run = Run.begin(folder, plan, index=index, seed=plan.seed)
    network = train.fit(plan, table, side, copies, run)
    view = msgspec.json.decode((run.folder / "view.json").read_bytes(), type=ViewParameters)
    emotion, danger = predict(network, view, [copies[0].clip(int(row)) for row in part.test])
    probabilities = in_classes(emotion, clips.classes)
    figures = score(clips, part.test, probabilities) | {"parameters": int(network.count_params())}
    figures["danger_auc"] = danger_area(truth_of(clips, part.test), danger)
    run.finish(accuracy=figures["accuracy"])
    return figures, {"rows": part.test, "probabilities": probabilities, "danger": danger}


def shipped(clips: Clips, rows: NDArray[np.int64], root: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The shipped package, int8, by the device's own code, on the clips at `rows`; as Study.work.

    It learned from all corpora and all speakers but those of validation: fair on these alone.
    """
    from device.package import load
    from training.judging.clips import judge

    package = load(newest_package())
    answers = judge(package, clips.table.iloc[rows].reset_index(drop=True), root)
    emotion = np.full((len(rows), len(CLASSES)), -np.inf, np.float32)
    for number, said in enumerate(package.manifest.classes):
        emotion[:, CLASSES.index(said.name)] = np.log(np.maximum(answers.emotions[:, number], 1e-9))
    probabilities = in_classes(emotion, clips.classes)
    figures = score(clips, rows, probabilities)
    figures["danger_auc"] = danger_area(truth_of(clips, rows), answers.danger)
    return figures, {"rows": rows, "probabilities": probabilities, "danger": answers.danger.astype(np.float32)}


def newest_package() -> Path:
    """The folder of the shipped package."""
    from device.installed_models import chosen

    return chosen.shipped()[0]


def truth_of(clips: Clips, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """The names of these clips' classes."""
    return clips.table["label"].to_numpy(object)[rows]
