"""Who is learned from, who chooses, who judges: a column of "train", "validation" and "test".

The default keeps whole speakers apart. `random_stratified` is the papers' protocol: the same voice stands on
both sides of it.
"""

import hashlib

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from device.errors import UsageError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
NAMES = (TRAIN, VALIDATION, TEST)

# The speakers that corpora/README.md keeps as FLAC for validation. Half of them choose (checkpoint, level),
# the others are heard once, at the end; both sexes on both sides where there are enough.
# nEMO: MK0 and MP0 are the incomplete speakers (450 and 256 of 540 clips), so training loses least.
# SAVEE: JE's level lies between the others', and of four men no second can be spared.
# IEMOCAP: the last session, as is the custom. TORGO: on each side a dysarthric speaker and a control.
HELD_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "CREMA-D": {VALIDATION: ("1015", "1020", "1030", "1070", "1089"), TEST: ("1021", "1050", "1079", "1090")},
    "RAVDESS": {VALIDATION: ("03",), TEST: ("10",)},
    "EMO-DB": {VALIDATION: ("09",), TEST: ("15",)},
    "ASED": {VALIDATION: ("02", "07"), TEST: ("01",)},
    "nEMO": {VALIDATION: ("MP0",), TEST: ("MK0",)},
    "SAVEE": {VALIDATION: ("JE",), TEST: ()},
    "IEMOCAP": {VALIDATION: ("Ses05F",), TEST: ("Ses05M",)},
    "TORGO": {VALIDATION: ("F03", "MC04"), TEST: ("M05", "FC02")},
    "TESS": {VALIDATION: (), TEST: ()},
    "EmoSpeech-Command": {VALIDATION: (), TEST: ()},
}
# Of everything else (background, screams, ordinary speech, a user's own) a share of speakers or recordings.
OTHERS_SHARE = 0.1


def group(clips: pd.DataFrame) -> pd.Series:
    """What must stay together: the speaker, else the recording that a clip was cut from, else the file."""
    owner = clips["speaker"].where(clips["speaker"] != "", clips["source"])
    return owner.where(owner != "", clips["path"])


def speaker_independent(clips: pd.DataFrame) -> pd.Series:
    """The default: HELD_OUT's speakers validate and test, and a tenth each of what else there is.

    Depends on names alone: adding a corpus moves no clip of another.
    """
    part = pd.Series(TRAIN, index=clips.index, dtype="object")
    share = group(clips).map(_share)
    others = ~clips["corpus"].isin(list(HELD_OUT))
    part[others & (share < OTHERS_SHARE)] = VALIDATION
    part[others & (share >= OTHERS_SHARE) & (share < 2 * OTHERS_SHARE)] = TEST
    for corpus, speakers in HELD_OUT.items():
        for name in (VALIDATION, TEST):
            part[clips["speaker"].isin([f"{corpus}/{speaker}" for speaker in speakers[name]])] = name
    return part


def random_stratified(
    clips: pd.DataFrame, *, validation: float = 0.2, test: float = 0.0, seed: int = 0
) -> pd.Series:
    """The papers' protocol: clips at random, every emotion in proportion. Speakers stand on both sides."""
    part = pd.Series(TRAIN, index=clips.index, dtype="object")
    rest = clips.index
    for name, share in ((TEST, test), (VALIDATION, validation)):
        if share:
            count = round(share * len(clips))
            rest, taken = train_test_split(
                rest, test_size=count, random_state=seed, stratify=clips.loc[rest, "emotion"]
            )
            part[taken] = name
    return part


def leave_one_corpus_out(clips: pd.DataFrame, corpus: str) -> pd.Series:
    """Tests on all of `corpus`, learns from and chooses by the others: a guess for a new microphone."""
    if corpus not in set(clips["corpus"]):
        raise UsageError(
            f"no corpus {corpus!r} here to leave out; there are {', '.join(sorted(set(clips['corpus'])))}"
        )
    part = speaker_independent(clips).replace(TEST, VALIDATION)
    part[clips["corpus"] == corpus] = TEST
    return part


def grouped_kfold(clips: pd.DataFrame, fold: int, *, folds: int = 5, seed: int = 0) -> pd.Series:
    """Fold `fold` (0-based) of `folds` tests, the one after it validates; no speaker in two of them."""
    if not 0 <= fold < folds or folds < 3:
        raise UsageError(f"fold {fold} of {folds}: at least 3 folds, and fold from 0 to {folds - 1}")
    groups = group(clips)
    if groups.nunique() < folds:
        raise UsageError(f"{groups.nunique()} speakers or recordings do not make {folds} folds; take fewer")
    maker = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    number = np.zeros(len(clips), int)
    # An emotion with fewer clips than folds can't be in all of them: it goes where its speakers go.
    emotion = clips["emotion"]
    counts = emotion.value_counts()
    emotion = emotion.where(emotion.map(counts) >= folds, counts.index[0])
    for at, (_, rows) in enumerate(maker.split(clips, emotion, groups)):
        number[rows] = at
    part = pd.Series(TRAIN, index=clips.index, dtype="object")
    part[number == fold] = TEST
    part[number == (fold + 1) % folds] = VALIDATION
    return part


def split(clips: pd.DataFrame, protocol: str, *, seed: int = 0) -> pd.Series:
    """The split that a recipe names: `speakers`, `validation` (as `speakers`, but the test speakers are learned
    from too: the last training before a package ships), `random`, `without:CORPUS`, or `fold:2/5`.
    """
    name, _, rest = protocol.partition(":")
    if protocol == "speakers":
        return speaker_independent(clips)
    if protocol == "validation":
        return speaker_independent(clips).replace(TEST, TRAIN)
    if protocol == "random":
        return random_stratified(clips, seed=seed)
    if name == "without":
        return leave_one_corpus_out(clips, rest)
    if name == "fold" and len(numbers := rest.split("/")) == 2 and all(n.isdigit() for n in numbers):
        return grouped_kfold(clips, int(numbers[0]), folds=int(numbers[1]), seed=seed)
    raise UsageError(
        f"no split {protocol!r}; there are speakers, validation, random, without:CORPUS and fold:K/N (K from 0)"
    )


def _share(name: str) -> float:
    """A stable place in 0..1 for a name, the same on every machine and for every run."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
