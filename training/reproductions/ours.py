"""Our own network in a paper's protocol: the shipped recipe, trained anew on that split's training clips alone.

The shipped package was trained in five parts, the last two of them with the earlier ones as teachers; here it is two:
one from nothing, by the recipe that has all augmentations, and one that goes on from it and is taught by it. Their
steps shrink with the data. Noises and rooms, which hold no voice, are laid over copies of the clips as for the package.
"""

import shutil
from collections.abc import Sequence
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
from training.teachers import network_of

if TYPE_CHECKING:
    from training.train import DangerRecipe

RECIPES = HOME / "training" / "recipes"
PARTS = {"danger-speakers": 120, "danger-taught": 60}
"""The recipes, and how often each is given a clip: the shipped package, 3.3 million crops of some 20,000, has the same
share of its steps taught, and had each clip 160 times."""
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


def recipes(epochs: int | None, *, quick: bool, learns: int) -> list["DangerRecipe"]:
    """The recipes of `PARTS` for `learns` training clips; with other epochs where asked.

    `quick`: next to nothing of them, for a proof. Backgrounds on frames come from a corpus of theirs, which no
    paper's data have; those of the copies stay.
    """
    from training.train import DangerRecipe

    made = []
    for name, passes in PARTS.items():
        plan = load_recipe(RECIPES / f"{name}.toml", DangerRecipe)
        total = max(LEAST_STEPS, passes * learns / plan.batch)
        before = tuple(PARTS)[: len(made)]
        plan = msgspec.structs.replace(
            plan,
            start=before[-1] if before else "",
            teachers=before,
            split="",
            noises=0.0,
            steps=2 if quick else min(plan.steps, round(total / plan.epochs)),
            copies=0 if quick else plan.copies,
            epochs=epochs or (2 if quick else plan.epochs),
        )
        made.append(msgspec.structs.replace(plan, average_last=min(plan.average_last, max(1, plan.epochs // 4))))
    return made


def work(
    clips: Clips, part: Split, root: Path, plans: Sequence["DangerRecipe"], folder: Path
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Train `plans`, the recipes of `PARTS`, on the split's training side in `folder`, and score its test side.

    As Study.work. Cut in the middle, the same recipes go on there; a run of another one is thrown away.
    """
    from device.view import ViewParameters
    from training import train
    from training.judging.floats import predict

    table = relabelled(clips)
    side = pd.Series("validation", index=table.index, dtype="object")
    side.iloc[part.training] = "train"
    copies = train.make_copies(table, side, root, plans[0].copies)
    heard = [copies[0].clip(int(row)) for row in part.test]
    figures: dict[str, Any] = {"parts": {}}
    for name, plan in zip(PARTS, plans, strict=True):
        plan = msgspec.structs.replace(plan, seed=part.seed + 1)  # noqa: PLW2901
        run = _begun(folder / name, plan, index_hash(table))
        network = network_of(run.folder) if run.finished else train.fit(plan, table, side, copies, run)
        view = msgspec.json.decode((run.folder / "view.json").read_bytes(), type=ViewParameters)
        emotion, danger = predict(network, view, heard)
        probabilities = in_classes(emotion, clips.classes)
        told = score(clips, part.test, probabilities) | {"danger_auc": danger_area(truth_of(clips, part.test), danger)}
        run.finish(accuracy=told["accuracy"])
        figures["parts"][name] = told["accuracy"]
    figures |= told | {"parameters": int(network.count_params())}
    return figures, {"rows": part.test, "probabilities": probabilities, "danger": danger}


def _begun(folder: Path, plan: "DangerRecipe", index: str) -> Run:
    """The run of `plan` in `folder`, begun or gone on with; another one there is deleted."""
    try:
        return Run.begin(folder, plan, index=index, seed=plan.seed)
    except BadDataError:
        shutil.rmtree(folder)
        return Run.begin(folder, plan, index=index, seed=plan.seed)


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
