"""One table of all systems on the same unseen speakers: the six classes that every one of them knows.

Surprise is left out of truth and answers: our classes have none. What it costs stands beside it. Of the speakers of
the protocol `house` only the validation speakers judge: the shipped package learned from the others.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.corpora.clip import EMOTIONS
from training.reproductions import ensembles
from training.reproductions.loopq_paper import WEIGHTS
from training.reproductions.protocol import Clips, Planned, danger_area, figures_of
from training.reproductions.runs import RunFolder
from training.reproductions.study import Made
from training.reproductions.tables import Table
from training.splits import VALIDATION, speaker_independent

NAME = "one-table"
OVER_TIME = ("p1-gru-base", "p1-gru-enhanced", "cnn1d-lstm")
"""Networks that walk over time and could answer as they go; P4's was trained on padded clips of 8 s."""
FIRST_PAPER = {"base": "p1-gru-base", "enhanced-20": "p1-gru-enhanced"}
"""P1's runs, by the name that they have here: its networks learned from the same speakers in their own reproduction."""

PAIRS = {f"{one} + p2-conv2d": (one, "p2-conv2d") for one in ("ours", "shipped")}
"""Ours and the best of the others, averaged: what that one could teach, though it is worse alone."""
MEMBERS = dict.fromkeys(ensembles.WAYS, tuple(WEIGHTS)) | PAIRS
"""Of which networks an ensemble is made."""


def planned(clips: Clips, runs: RunFolder, seed: int) -> Planned:
    """The comparison of what is there when its turn has come."""
    told = {"variant": NAME, "group": NAME, "protocol": "house", "seed": seed}
    return Planned(f"house-{NAME}-{seed}", told, partial(compare, clips, runs, seed), prepared=False, joins=True)


def compare(clips: Clips, runs: RunFolder, seed: int) -> Made:
    """Accuracy, UAR and danger's area of every run on the clips of the six classes, by the run's variant.

    P1's networks are read from what its own reproduction kept, where that lies beside `runs`.
    """
    members = [path.stem for path in sorted(runs.runs.glob(f"house-*-{seed}.npz"))]
    figures: dict[str, Any] = {"clips": 0, "systems": {}}
    said: dict[str, tuple[NDArray[np.int64], NDArray[np.floating]]] = {}
    heard_by_none = validation_speakers(clips)
    columns = [clips.classes.index(name) for name in EMOTIONS]
    for stem in members:
        kept = runs.arrays(stem)
        truth = clips.table["label"].to_numpy(object)[kept["rows"]]
        judged = np.isin(truth.astype(str), EMOTIONS) & heard_by_none[kept["rows"]]
        labels = np.array([EMOTIONS.index(name) for name in truth[judged]])
        six = kept["probabilities"][judged][:, columns]
        told = figures_of(labels, six, EMOTIONS)
        if "danger" in kept:
            told["danger_auc"] = danger_area(truth[judged], kept["danger"][judged])
        name = stem.removeprefix("house-").rpartition("-")[0]
        said[name] = (kept["rows"][judged], six / six.sum(axis=1, keepdims=True))
        figures["systems"][name] = {key: told[key] for key in ("accuracy", "uar", "danger_auc")}
        figures["clips"] = told["clips"]
    for name, pair in PAIRS.items():
        if said.keys() >= set(pair) and np.array_equal(said[pair[0]][0], said[pair[1]][0]):
            labels = np.array([EMOTIONS.index(one) for one in clips.table["label"].iloc[said[pair[0]][0]]])
            told = figures_of(labels, (said[pair[0]][1] + said[pair[1]][1]) / 2, EMOTIONS)
            figures["systems"][name] = {key: told[key] for key in ("accuracy", "uar", "danger_auc")}
    paths = pd.Series(np.arange(len(clips.table)), index=clips.table["path"])
    for run, name in FIRST_PAPER.items():
        path = runs.folder.parent / "enhanced-gru" / "runs" / f"house-{run}-{seed}.npz"
        if name in figures["systems"] or not path.is_file():
            continue
        with np.load(path) as kept:
            rows = paths.reindex(kept["paths"]).to_numpy()
            # P1 hears calm as neutral; these clips are not P4's, so nobody is judged by them.
            judged = np.isfinite(rows)
            judged[judged] = heard_by_none[rows[judged].astype(int)]
            told = figures_of(kept["truth"][judged], kept["probabilities"][judged], EMOTIONS)
        if told["clips"] == figures["clips"]:
            figures["systems"][name] = {key: told[key] for key in ("accuracy", "uar", "danger_auc")}
    return figures, {}


def validation_speakers(clips: Clips) -> NDArray[np.bool_]:
    """Which clips are of speakers that neither these networks nor the shipped package heard, (clips,)."""
    return (speaker_independent(clips.table) == VALIDATION).to_numpy(bool)


def table(records: Sequence[Mapping[str, Any]], costs: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """The best first; None where nothing was compared."""
    made = [record["figures"] for record in records if record["settings"]["group"] == NAME]
    if not made:
        return None
    systems = made[0]["systems"]
    packages = {r["settings"]["package"] for r in records if r["settings"]["group"] == "shipped"}
    rows = []
    for name in sorted(systems, key=lambda one: -systems[one]["accuracy"]):
        told, spent = systems[name], _spent(name, costs)
        ours = name in ("ours", "shipped")
        rows.append(
            (
                f"shipped ({', '.join(packages)})" if name == "shipped" else name,
                *(f"{100 * told[key]:.1f}" for key in ("accuracy", "uar")),
                f"{told['danger_auc']:.3f}",
                f"{spent['parameters']:,.0f}" if "parameters" in spent else "-",
                f"{spent['int8_bytes'] / 1000:,.0f}" if "int8_bytes" in spent else "-",
                f"{spent['network_ms_per_s']:.2f}" if "network_ms_per_s" in spent else "-",
                f"{spent['features_ms_per_s']:.2f}" if "features_ms_per_s" in spent else "-",
                "yes" if ours else "could" if name in OVER_TIME else "no",
                f"every {spent.get('step_s', 0):.2g} s of sound" if ours else "at the clip's end",
                f"{spent['answer_ms']:.1f}" if "answer_ms" in spent else "-",
            )
        )
    head = ("system", "accuracy", "UAR", "danger AUC", "parameters", "int8, kB")
    head += ("network, CPU ms per s of sound", "features, CPU ms per s", "streams", "answers", "then, CPU ms")
    told = (
        f"The same {made[0]['clips']} clips of the validation speakers for all, six classes, seed 0: voices that "
        "none of them heard. Sizes and times are of the networks as trained here. `shipped` learned from other corpora "
        "too, and its settings were chosen by these speakers; `ours` is its recipe trained anew on these training "
        "clips alone; their danger is the output that the device decides by, the others' the summed probability of "
        "anger and fear. Latency: who answers at the clip's end has heard all of it (padded to 8 s in P4), and then "
        "takes the CPU time of the last column, one clip in a batch of 32; ours takes its own for each step. + is the "
        "mean of two systems' probabilities."
    )
    return Table("All systems on the same unseen speakers", told, head, tuple(rows))


def _spent(name: str, costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a system costs; an ensemble what its members cost together, and features that they share once."""
    known = [dict(costs[one]) for one in map(cost_name, MEMBERS.get(name, (name,))) if one in costs]
    if len(known) < len(MEMBERS.get(name, (name,))):
        return {}
    spent = known[0]
    own = ("features_ms_per_s",) if name in PAIRS else ()
    for key in ("parameters", "int8_bytes", "network_ms_per_s", "cpu_s_per_1000", *own):
        if all(key in one for one in known):
            spent[key] = sum(one[key] for one in known)
    # As many milliseconds for one clip; ours alone tells what a step takes.
    if "cpu_s_per_1000" in spent and (known[1:] or "answer_ms" not in spent):
        spent["answer_ms"] = spent["cpu_s_per_1000"]
    # P1's features are the device's own.
    if name in FIRST_PAPER.values():
        spent["features_ms_per_s"] = costs.get("ours", {}).get("features_ms_per_s", spent["features_ms_per_s"])
    return spent


def cost_name(system: str) -> str:
    """Under which name costs.json holds a system as it was trained here."""
    return "ours" if system in ("ours", "shipped") else f"{system} as trained"
