"""The body of the model card: what was heard in training, what was measured on whom, and what it can't do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy.stats import chi2

from device.manifest import DecisionDefaults

DATA = (
    ("CREMA-D", "acted English, 12 sentences", "ODbL 1.0"),
    ("RAVDESS", "acted English, speech and song", "CC BY-NC-SA 4.0"),
    ("TESS", "acted English words, two women", "CC BY-NC-ND 4.0"),
    ("SAVEE", "acted British English, four men", "research"),
    ("EMO-DB", "acted German", "research"),
    ("nEMO", "acted Polish", "CC BY-NC-SA 4.0"),
    ("ASED", "acted Amharic", "none stated; cite"),
    ("EmoSpeech-Command", "words on phones in India; training only, it names no speakers", "CC BY-NC-SA 4.0"),
    ("Nonverbal", "screams, cries, laughs, coughs, Korean crowd", "CC BY-NC-ND 4.0"),
    ("Screams", "screams and other sounds", "mixed"),
    ("Background", "ESC-10, rooms, streets, infants, music", "CC BY 3.0, ODbL, CC0 and others"),
    ("Speech", "ordinary speech and singing in five languages", "CC BY 4.0, Apache-2.0, CC BY-NC-ND 4.0, others"),
    ("Rooms", "impulse responses and noises", "Apache-2.0, MIT"),
)

# What a recipe's `paths` may name where the weights are to be free of all conditions but naming the source.
FREE = (
    ("CREMA-D/", "acted English, 12 sentences", "ODbL 1.0"),
    ("Background/ESC-10/", "everyday sounds (ESC-10)", "CC BY 3.0"),
    ("Background/gsc-background/", "background noises of Speech Commands", "CC BY 4.0"),
    ("Speech/words-en/", "single words (Speech Commands)", "CC BY 4.0"),
    ("Speech/read-en/", "read English (LibriSpeech)", "CC BY 4.0"),
    ("Rooms/", "impulse responses and noises", "Apache-2.0, MIT"),
)

_ALL_FREE = """\
Each of these licences allows any use where the source is named; ODbL asks that a changed database stay open too.
It heard **no scream** in training, since none of these is one, and one corpus of acted emotion: the figures of
all other corpora below are of recordings, rooms and mostly languages that it never met."""
_KEPT_BACK = (
    "Whole speakers were kept back. *Validation* speakers were never learned from; they chose between trainings, the",
    "calibration and the thresholds, so their figures flatter a little. In brackets 95 % intervals over speakers drawn",
    "again; where fewer than four speak, over clips, which is too narrow: one voice says little of the next.",
)

_HEAD = """\
It tells emotions in a voice, and how likely that voice is in danger (fear, anger, a scream), while somebody
speaks, on a device that they wear. It is made for an alarm that a person may cancel, and not for judging
people: not for hiring, policing, teaching or medicine.

## What it can't do
* **It must not be the only safety measure of anyone.** It misses danger, and it alarms at nothing: see the
  figures below.
* All of its fear and anger is **acted**. Nobody was afraid in any recording; what a voice in real danger does to
  these figures is not known.
* **People with a speech impairment are whom this is for, and no recording here is theirs.** `python -m training
  evaluate --only TORGO` counts false alarms on such voices where that corpus is there.
* It hears what a voice shows, not what is felt. A frozen, silent victim is not heard at all: that is what the
  button is for.
"""
_CHILDREN = "* Children were heard only as background (infants) and in one family's play.\n"
_TABLE = """
## What it heard in training
| corpus | what | licence of the recordings |
| --- | --- | --- |
"""


def body(
    decisions: DecisionDefaults,
    scores: dict[str, dict[str, list[dict[str, Any]]]],
    streams: dict[str, dict[str, float | int]],
    paths: Sequence[str] = (),
) -> str:
    """The card's text; `scores` are the tables of `judge.scorecard` by side ("validation", "test"), `streams` what
    each setting did (`decide.Measured.told`), `paths` the recipe's, where it learned from these recordings alone.
    """
    recordings = _heard(paths)
    table = "\n".join(f"| {name} | {what} | {licence} |" for name, what, licence in recordings)
    lines = [_HEAD + ("" if paths else _CHILDREN) + _TABLE + table, ""]
    if not paths:
        lines += ["These licences together allow research and other non-commercial use of the weights."]
    elif {*recordings} <= {*FREE}:
        lines += [_ALL_FREE]
    lines += ["", *_KEPT_BACK]
    if "test" not in scores and not paths:
        lines += ["The test speakers of this project were learned from too, in the last training before it shipped."]
    lines += ["", *_settings(decisions, streams), ""]
    for side, tables in scores.items():
        for name, rows in tables.items():
            lines += [f"## {side.capitalize()} speakers, int8: {name}", *_table(rows), ""]
    return "\n".join(lines)


def _heard(paths: Sequence[str]) -> list[tuple[str, str, str]]:
    """The lines of the table of recordings."""
    if not paths:
        return list(DATA)
    known = {line[0]: line for line in FREE}
    return [known.get(path, (path, "", "ask its publisher")) for path in (*paths, "Rooms/")]


def _settings(decisions: DecisionDefaults, streams: dict[str, dict[str, float | int]]) -> list[str]:
    some = next(iter(streams.values()))
    lines = [
        "## What it decides",
        f"On streams of validation speakers: {some['life_hours']:.2f} h of ordinary life (speech, children, infants,",
        f"household and street), {some['acted_hours']:.2f} h of one calm, happy, sad or disgusted acted sentence after",
        f"the other, and {some['dangers']} times strongly expressed fear or anger, or a scream, in background sound at",
        "10 dB. Settings were chosen on one half of the streams and counted on the other, and the other way round;",
        "those that ship were chosen on all. In brackets the 95 % Poisson interval. `python -m training decide` makes",
        "these figures.",
        "",
        "| setting | threshold | smoothed over | n of m | false alarms an hour of ordinary life "
        "| among acted sentences | danger caught | median time from its end |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, s in decisions.sensitivities.items():
        told = streams[name]
        lines.append(
            f"| {name} | {s.threshold:.2f} | {s.smooth_s:.1f} s | {s.n} of {s.m} "
            f"| {_hourly(told['life_false_alarms'], told['life_hours'])} "
            f"| {_hourly(told['acted_false_alarms'], told['acted_hours'])} "
            f"| {100 * told['heard'] / max(told['dangers'], 1):.0f} % | {told['median_after_end_s']:.1f} s |"
        )
    return lines


def _hourly(count: float, hours: float) -> str:
    """Alarms an hour with the exact 95 % interval of a Poisson count (Garwood, 1936)."""
    if not hours:
        return "not measured"
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    high = float(chi2.ppf(0.975, 2 * count + 2)) / 2
    return f"{count / hours:.1f} ({low / hours:.1f} to {high / hours:.1f})"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| | clips | accuracy of six | unweighted recall | danger AUC | mean danger |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        plain = ["" if row.get(name) is None else f"{row[name]:.3f}" for name in ("uar", "danger_mean")]
        shown = (_with_interval(row, "accuracy"), plain[0], _with_interval(row, "danger_auc"), plain[1])
        lines.append(f"| {row['corpus']} | {row['clips']} | {' | '.join(shown)} |")
    return lines


def _with_interval(row: dict[str, Any], name: str) -> str:
    if row.get(name) is None:
        return ""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return f"{row[name]:.3f}" + (f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else "")
