"""The body of the model card: what was heard in training, what was measured on whom, and what it can't do."""

from __future__ import annotations

from typing import Any

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
* Children were heard only as background (infants) and in one family's play.
* It hears what a voice shows, not what is felt. A frozen, silent victim is not heard at all: that is what the
  button is for.

## What it heard in training
| corpus | what | licence of the recordings |
| --- | --- | --- |
"""


def body(decisions: DecisionDefaults, scores: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """The card's text; `scores` are the tables of `judge.scorecard` by side ("validation", "test")."""
    lines = [_HEAD + "\n".join(f"| {name} | {what} | {licence} |" for name, what, licence in DATA), ""]
    lines += [
        "These licences together allow research and other non-commercial use of the weights.",
        "",
        "Whole speakers were kept back. *Validation* speakers chose when to stop, the calibration and the thresholds;",
        "*test* speakers chose nothing.",
        "",
        "## What it decides",
        "On streams of validation speakers: ordinary life (speech, children, infants, household and street) and one",
        "calm, happy, sad or disgusted acted sentence after the other, against strongly expressed fear and anger and",
        "screams in background sound at 10 dB. `python -m training decide` makes these figures.",
        "",
        "| setting | threshold | smoothed over | n of m | false alarms an hour of ordinary life | danger caught |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, s in decisions.sensitivities.items():
        alarms = "" if s.false_alarms_per_hour is None else f"{s.false_alarms_per_hour:.1f}"
        caught = "" if s.recall is None else f"{100 * s.recall:.0f} %"
        lines.append(f"| {name} | {s.threshold:.2f} | {s.smooth_s:.1f} s | {s.n} of {s.m} | {alarms} | {caught} |")
    lines.append("")
    for side, tables in scores.items():
        for name, rows in tables.items():
            lines += [f"## {side.capitalize()} speakers, int8: {name}", *_table(rows), ""]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| corpus | clips | accuracy of six | unweighted recall | danger AUC | mean danger |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        figures = (row.get(name) for name in ("accuracy", "uar", "danger_auc", "danger_mean"))
        shown = ["" if value is None else f"{value:.3f}" for value in figures]
        lines.append(f"| {row['corpus']} | {row['clips']} | {' | '.join(shown)} |")
    return lines
