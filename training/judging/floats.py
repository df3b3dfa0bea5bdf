"""What a float network says of whole clips, each one window, and how right that is: for choosing between trainings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from device.view import VIEW_SIZE, View, ViewParameters, sounding
from training.copies import Copy
from training.corpora.clip import CLASSES, DANGER, EMOTIONS
from training.runs import write_json

_BUCKET_FRAMES = 160
_LONGEST_FRAMES = 960


def predict(
    model: keras.Model,
    parameters: ViewParameters,
    frames: Sequence[NDArray[np.float32]],
    means: Sequence[NDArray[np.float32] | None] | None = None,
    *,
    trim: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the float network says of whole clips, each one window: emotion logits (n, 8), danger logit (n,)."""
    views = []
    for at, clip in enumerate(frames):
        span = clip[sounding(clip)] if trim else clip
        views.append(View(parameters, means[at] if means else None).push(span[:_LONGEST_FRAMES]))
    emotion, danger = np.zeros((len(views), len(CLASSES)), np.float32), np.zeros(len(views), np.float32)
    buckets = np.array([max(1, -(-len(view) // _BUCKET_FRAMES)) for view in views])
    for bucket in np.unique(buckets):
        members = np.flatnonzero(buckets == bucket)
        size = -(-len(members) // 64) * 64
        batch = np.zeros((size, bucket * _BUCKET_FRAMES, VIEW_SIZE), np.float32)
        valid = np.zeros(batch.shape[:2], np.float32)
        for at, member in enumerate(members):
            batch[at, : len(views[member])] = views[member]
            valid[at, : len(views[member])] = 1.0
        told = model.predict({"view": batch, "valid": valid}, batch_size=64, verbose=0)
        emotion[members] = told["emotion"][: len(members)]
        danger[members] = told["danger"][: len(members), 0]
    return emotion, danger


def summary(clips: pd.DataFrame, emotion: NDArray[np.float32], danger: NDArray[np.float32]) -> pd.DataFrame:
    """Accuracy and UAR over the six emotions that a corpus has, and danger's area under the curve, by corpus."""
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    rows = []
    name = clips["corpus"] + np.where(clips["part"] == "song", " song", "")
    for corpus in sorted(set(name)):
        here = (name == corpus).to_numpy()
        six = here & clips["emotion"].isin(EMOTIONS).to_numpy()
        has = [at for at, label in enumerate(EMOTIONS) if label in set(clips["emotion"][six])]
        row: dict[str, Any] = {"corpus": corpus, "clips": int(here.sum())}
        if len(has) > 1:
            truth = clips["emotion"][six].map(EMOTIONS.index).to_numpy()
            told = np.array(has)[emotion[six][:, has].argmax(axis=1)]
            row |= {"accuracy": float(np.mean(truth == told)), "uar": float(balanced_accuracy_score(truth, told))}
        judged = here & clips["emotion"].isin(CLASSES).to_numpy()
        risky = clips["emotion"][judged].isin(DANGER).to_numpy()
        if 0 < risky.sum() < len(risky):
            row["danger_auc"] = float(roc_auc_score(risky, danger[judged]))
        else:
            row["danger_mean"] = float(1 / (1 + np.exp(-danger[judged].mean())))
        rows.append(row)
    return pd.DataFrame(rows)


def evaluate(
    model: keras.Model, folder: Path, clips: pd.DataFrame, part: pd.Series, copies: list[Copy]
) -> dict[str, pd.DataFrame]:
    """`metrics.json`: the summary of the float network on clean whole clips, validation and test; also returned."""
    parameters = msgspec.json.decode((folder / "view.json").read_bytes(), type=ViewParameters)
    tables = {}
    for side in ("validation", "test"):
        rows = np.flatnonzero((part == side).to_numpy())
        if not len(rows):
            continue
        emotion, danger = predict(model, parameters, [copies[0].clip(int(row)) for row in rows])
        tables[side] = summary(clips.iloc[rows].reset_index(drop=True), emotion, danger)
    told = {side: json.loads(table.to_json(orient="records")) for side, table in tables.items()}
    write_json(folder / "metrics.json", {"float": told})
    return tables
