"""The corpora that can be read: one file each. To add one: write its file, name it here."""

from training.corpora import (
    ased,
    cremad,
    emodb,
    emospeech,
    folders,
    iemocap,
    nemo,
    ravdess,
    savee,
    tess,
    torgo,
)
from training.corpora.clip import Corpus

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        *(
            module.CORPUS
            for module in (cremad, ravdess, tess, savee, emodb, nemo, ased, emospeech, iemocap, torgo)
        ),
        *folders.CORPORA,
    )
}
NO_CLIPS = ("Rooms",)
"""Folders beside the corpora that hold impulse responses and noises for augmentation, not clips."""
