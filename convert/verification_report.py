"""The verification as a page: Markdown and one picture, which the model card links."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np

from convert.edges import Operator
from convert.verify import Comparison, Verification


def write_report(found: Verification, folder: Path, command: str) -> Path:
    """Write NAME-VERSION.md and .png into `folder`; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = found.package.manifest.identity
    _draw(found, folder / f"{identity}.png")
    page = folder / f"{identity}.md"
    page.write_text(_page(found, identity, command), "utf-8")
    return page


def _page(found: Verification, identity: str, command: str) -> str:
    missed = found.failed()
    geometry = found.package.manifest.geometry
    lines = [
        f"# Verification of {identity}",
        "",
        "Is what runs on the device what was trained? The int8 package, through the device's own code, beside the "
        f"Keras network on {found.comparisons[0].clips} utterances of speakers that it was not trained on.",
        "",
        f"    {command}",
        "",
        "**Every bar is met.**" if not missed else "**Missed:** " + "; ".join(missed) + ".",
        "",
        "| engine | clips | agreement | mean error | greatest error | danger, mean error | accuracy | loss, points |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *[_accuracy_row(c) for c in found.comparisons],
        "",
        "Agreement: of the most probable class. Errors: of the probabilities. Bars: agreement 0.99, mean error 0.01, "
        "loss 0.5 points.",
        "",
        f"![Errors of the clips, and drift over a minute]({identity}.png)",
        "",
        "## Cost",
        "",
        f"Package {found.size / 1000:.0f} KB (bar 400), network {found.network_size / 1000:.0f} KB. A step takes "
        f"{geometry.frames_per_step} frames, {geometry.batch} windows beside each other. CPU, one thread, in ms for a "
        "second of sound:",
        "",
        "| engine | runtime | kernels | graph | graph, one window | frames to posteriors | golden clip off by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *[_cost_row(c, geometry.batch) for c in found.comparisons],
        "",
        *[f"* {c.engine}: {c.machine}" for c in found.comparisons],
        *[f"* {c.engine} warns: {w}" for c in found.comparisons for w in c.warnings],
        *[f"* not run: {line}" for line in found.left_out],
        "",
        "## Drift",
        "",
        _drift_line(found),
        "",
        "## Streams",
        "",
        *_stream_lines(found),
        "",
        "## Operators",
        "",
        "| operator | takes | gives | times |",
        "| --- | --- | --- | --- |",
        *_operator_rows(found.operators),
        "",
    ]
    return "\n".join(lines)


def _accuracy_row(c: Comparison) -> str:
    return (
        f"| {c.engine} | {c.clips} | {c.agreement:.4f} | {c.mean_error:.4f} | {c.greatest_error:.3f} "
        f"| {c.danger_error:.4f} | {c.accuracy:.4f} | {100 * c.accuracy_loss:+.2f} |"
    )


def _cost_row(c: Comparison, batch: int) -> str:
    return (
        f"| {c.engine} | {c.runtime} | {c.kernels} | {c.graph_ms_per_second:.2f} | {c.graph_ms_per_second / batch:.2f} "
        f"| {c.ms_per_second:.2f} | {c.golden_difference:.4f} |"
    )


def _drift_line(found: Verification) -> str:
    error, seconds = found.drift.error, found.drift.seconds
    first, last = error[seconds <= 10].mean(), error[seconds > seconds[-1] - 10].mean()
    return (
        f"One window over {seconds[-1]:.0f} s, never restarted (the device restarts it), each step's own "
        f"probabilities: greatest error of a step {first:.4f} on average in the first ten seconds, {last:.4f} in the "
        f"last ten, {error.max():.3f} at most."
    )


def _stream_lines(found: Verification) -> list[str]:
    """The first minute as a stream, engine by engine."""
    first = found.comparisons[0]
    lines = ["The first minute as a stream, danger and emotions of every step, beside the first engine:", ""]
    for c in found.comparisons[1:]:
        steps = min(len(c.stream), len(first.stream))
        if c.clips != first.clips:
            continue  # it heard other clips one after the other
        apart = np.abs(c.stream[:steps] - first.stream[:steps])
        lines.append(f"* {c.engine}: {apart.mean():.4f} apart on average, {apart.max():.3f} at most")
    if found.replays:
        lines += ["", "`outcry replay` of recordings, events and decisions beside the first engine:", ""]
        lines += [f"* {name}: {said}" for name, said in found.replays.items()]
    return lines


def _operator_rows(operators: list[Operator]) -> list[str]:
    counts = Counter((o.name, ", ".join(o.inputs).lower(), ", ".join(o.outputs).lower()) for o in operators)
    return [f"| {name} | {takes} | {gives} | {count} |" for (name, takes, gives), count in sorted(counts.items())]


def _draw(found: Verification, path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for c in found.comparisons:
        share = np.arange(1, len(c.errors) + 1) / len(c.errors)
        left.plot(np.sort(c.errors), share, label=c.engine)
    left.set(xlabel="greatest probability error of a clip", ylabel="share of the clips", ylim=(0, 1))
    left.legend(fontsize=8)
    right.plot(found.drift.seconds, found.drift.error, linewidth=0.7)
    right.set(xlabel="seconds without restart", ylabel="probability error of a step", ylim=(0, None))
    for axes in (left, right):
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
