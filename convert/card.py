"""The model card: `README.md` of a package, in the common model-index form."""

from __future__ import annotations

from typing import Any

from convert.run_folder import RunFolder
from device.manifest import Manifest

_INTENDED = """\
It tells emotions in a voice and how likely that voice is in danger (fear, anger, a scream), every few
hundredths of a second, on a device that its wearer carries. It is made for an alarm that a person may cancel,
not for judging people: not for hiring, policing, teaching or medicine. What it was trained on is acted;
nothing of it is
spontaneous fear. It hears the emotion that a voice shows, not what is felt."""


def card(manifest: Manifest, run: RunFolder) -> str:
    """The card's text: the run's own where it wrote one, behind the same head."""
    body = run.card() or _body(manifest, run.metrics())
    link = f"docs/verification/{manifest.identity}.md"
    return f"{_front(manifest, run.metrics())}\n{body}\nWhat the conversion costs is measured in `{link}`.\n"


def _front(manifest: Manifest, metrics: dict[str, Any]) -> str:
    lines = ["---", "tags: [speech-emotion-recognition, tflite]", "model-index:", f"- name: {manifest.identity}"]
    lines.append("  results:")
    for row in metrics.get("corpora", []):
        figures = {k: row[k] for k in ("accuracy", "uar", "danger_auc", "danger_mean") if isinstance(row.get(k), float)}
        lines += ["  - task: {type: audio-classification}", f"    dataset: {{name: {row.get('corpus')}}}"]
        lines.append("    metrics:")
        lines += [f"    - {{type: {kind}, value: {value:.4f}}}" for kind, value in figures.items()]
    return "\n".join([*lines, "---", ""])


def _body(manifest: Manifest, metrics: dict[str, Any]) -> str:
    geometry = manifest.geometry
    dangers = ", ".join(c.name for c in manifest.classes if c.danger)
    lines = [
        f"# {manifest.identity}",
        "",
        _INTENDED,
        "",
        f"* classes: {', '.join(manifest.class_names)}; danger: {dangers}, from the {manifest.decision.danger}",
        f"* input: {geometry.frames_per_step} frames of {geometry.input.shape[2]} numbers each call, "
        f"{geometry.batch} windows",
        f"* licence: {manifest.licence}",
        "",
        *_table(metrics.get("corpora", [])),
        "",
        *_sensitivities(manifest),
        "",
    ]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["Nothing has been measured of this network yet."]
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["Validation speakers, by corpus:", "", f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
    for row in rows:
        cells = (row.get(name) for name in names)
        shown = (f"{c:.3f}" if isinstance(c, float) else "" if c is None else str(c) for c in cells)
        lines.append(f"| {' | '.join(shown)} |")
    return lines


def _sensitivities(manifest: Manifest) -> list[str]:
    lines = ["| sensitivity | threshold | false alarms per hour | recall |", "| --- | --- | --- | --- |"]
    for name, s in manifest.decision.sensitivities.items():
        alarms = "not measured" if s.false_alarms_per_hour is None else f"{s.false_alarms_per_hour:.2f}"
        recall = "not measured" if s.recall is None else f"{s.recall:.2f}"
        lines.append(f"| {name} | {s.threshold:.3f} | {alarms} | {recall} |")
    return lines
