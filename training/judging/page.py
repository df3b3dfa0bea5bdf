"""The report of `python -m training evaluate`, for somebody who has never seen the code."""

import pandas as pd

from training import evaluate
from training.corpora.clip import EMOTIONS
from training.judging.speakers import ORDINARY, Judged
from training.report import CAVEAT, Report, bars_picture, confusion_picture, danger_picture

_GROUPS = {
    "sex": "Women and men",
    "language": "Languages",
    "intensity": "Acted weak and strong",
    "speaker": "Speaker by speaker",
}


def report_of(judged: Judged, about: list[str]) -> Report:
    """The page; `about` are sentences on data, split and revision."""
    page = Report(f"What {judged.model} hears: unseen speakers")
    page.note(CAVEAT)
    page.text(
        "The model listens to recordings of people whom training never heard. It is judged as the device runs it:",
        "the same features, the same quantised network, the same decision.",
    )
    page.points(about)
    _emotions(page, judged)
    _danger(page, judged)
    _streams(page, judged)
    return page


def _emotions(page: Report, judged: Judged) -> None:
    six = judged.clips[judged.clips["emotion"].isin(EMOTIONS) & ~judged.clips["corpus"].isin(ORDINARY)]
    page.heading("Which emotion?")
    page.text(
        "Accuracy is the share of clips whose emotion was named right, among those emotions that the corpus has.",
        "UAR is the mean over the emotions of the share of each that was found; guessing gives 1 / their number.",
    )
    page.table(judged.by_corpus, "By corpus.")
    page.picture(bars_picture(judged.by_corpus[["accuracy", "uar"]], "share"), "Accuracy and UAR by corpus.")
    whole = evaluate.score(six["emotion"], six["said"])
    page.picture(confusion_picture(whole.confusion), "All corpora: what was true (rows) and what was said (columns).")
    page.table(whole.by_class, "By emotion, all corpora.")
    page.text(
        f"Calibration: when the model is sure to p percent, it should be right in p percent. On average it is off by "
        f"{100 * judged.emotion_error:.1f} points (expected calibration error, 15 bins) for the emotion, and by "
        f"{100 * judged.danger_error:.1f} for danger."
    )
    for column, title in _GROUPS.items():
        table = evaluate.by_group(six[column], six["emotion"], six["said"])
        if len(table) > 1:
            page.table(table, f"{title}.")


def _danger(page: Report, judged: Judged) -> None:
    page.heading("Is it danger?")
    page.text(
        "Danger is anger, fear or a scream, against everything else. The area under the ROC curve is the chance",
        "that a dangerous clip gets a higher score than a calm one: 0.5 is a coin, 1 is perfect. The low and high",
        "ends hold for 95 of 100 draws of other speakers like these: where few were heard they lie far",
        "apart, where one was, there are none.",
    )
    page.table(judged.danger, "By corpus, with intervals over speakers.")
    curves = {}
    for name in judged.danger.index[:-1]:
        some = judged.clips[judged.clips["task"] == name]
        curves[name] = evaluate.danger_curves(evaluate.is_danger(some["emotion"]), some["danger_score"].to_numpy())
    if curves:
        page.picture(danger_picture(curves), "How much danger is heard for how many false alarms, clip by clip.")


def _streams(page: Report, judged: Judged) -> None:
    page.heading("All day long")
    page.text(
        "Here the model listens to long sound, as when it is worn. Ordinary speech and background hold no danger:",
        "each alarm there is false. For the other rows dangerous clips lie among ordinary sound, 20 s apart; an event",
        "is heard if the decision says danger during it or within 2 s. The sensitivities are those of the package.",
    )
    calm = judged.streams[judged.streams["events"] == 0]
    if not calm.empty:
        page.table(
            _wide(calm, "false alarms per hour", calm.groupby("stream")["hours"].first()), "False alarms per hour."
        )
    events = judged.streams[judged.streams["events"] > 0]
    if not events.empty:
        count = events.groupby("stream")["events"].first()
        page.table(_wide(events, "recall", count), "Share of the events that were heard.")
        page.table(
            _wide(events, "median latency, s", count), "Seconds from the event's start to the decision (median)."
        )


def _wide(rows: pd.DataFrame, value: str, more: pd.Series) -> pd.DataFrame:
    wide = rows.pivot_table(index="stream", columns="sensitivity", values=value, sort=False, dropna=False)
    return more.to_frame().join(wide)
