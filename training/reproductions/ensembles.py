"""Ensembles of P4: the plain average, and weights that a genetic algorithm found.

Weights that are found and reported on the same clips are tuned on their own test. So they stand twice: found
on all test clips (the published way), and nested: every fifth of the clips is judged with weights found on
the other four. Where the test's speakers are unheard a fifth is one of speakers, so that no weight knows the voice
that it judges.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pygad
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from training.reproductions.protocol import PROTOCOLS, Clips, score
from training.reproductions.tables import Table, of

Probabilities = NDArray[np.floating]
Way = Literal["average", "genetic", "genetic-nested"]
WAYS: tuple[Way, ...] = ("average", "genetic", "genetic-nested")
FOLDS = 5
POPULATION = 40
GENERATIONS = 60
TOURNAMENT = 3


def average(members: Sequence[Probabilities], weights: NDArray[np.floating] | None = None) -> Probabilities:
    """The members' probabilities (clips, classes), averaged, equally or by weights that sum to 1."""
    shares = np.full(len(members), 1 / len(members)) if weights is None else weights
    return np.tensordot(shares, np.stack(members), axes=1)


def genetic_weights(
    members: Sequence[Probabilities], truth: NDArray[np.int64], seed: int, generations: int = GENERATIONS
) -> NDArray[np.float64]:
    """Weights (members,), which sum to 1, with the best macro F1 on these clips.

    As the paper says: fitness F1 macro, k-tournament, a child is the mean of its parents, random mutation,
    the best survives, weights normalised. Equal weights are in the first population, so the result is never
    worse here.
    """
    stacked = np.stack(members)

    def fitness(_: pygad.GA, genes: NDArray[np.float64], __: int) -> float:
        said = np.tensordot(_normalised(genes), stacked, axes=1).argmax(axis=1)
        return f1_macro(truth, said, stacked.shape[2])

    generator = np.random.default_rng(seed)
    first = generator.uniform(0, 1, (POPULATION, len(members)))
    first[0] = 1.0
    random.seed(seed)
    search = pygad.GA(
        num_generations=generations,
        num_parents_mating=POPULATION // 2,
        fitness_func=fitness,
        initial_population=first,
        parent_selection_type="tournament",
        K_tournament=TOURNAMENT,
        crossover_type=_mean_of_parents,
        mutation_type="random",
        mutation_probability=0.2,
        random_mutation_min_val=-0.3,
        random_mutation_max_val=0.3,
        keep_elitism=2,
        random_seed=seed,
        suppress_warnings=True,
    )
    search.run()
    best, _, _ = search.best_solution()
    return _normalised(best)


def f1_macro(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> float:
    """Macro F1 over the classes that occur; scikit-learn's value, 50 times as fast, for 2,400 askings a search."""
    counts = np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * counts.diagonal()[both > 0] / both[both > 0]).mean())


def nested(
    members: Sequence[Probabilities],
    truth: NDArray[np.int64],
    seed: int,
    generations: int = GENERATIONS,
    speakers: NDArray[np.object_] | None = None,
) -> Probabilities:
    """Probabilities (clips, classes): each clip weighed by what was found on the folds that it is not in.

    With `speakers` (clips,) a fold holds whole speakers, unless there is one alone.
    """
    folds = max(2, min(FOLDS, int(np.bincount(truth)[np.unique(truth)].min())))
    kind, voices = StratifiedKFold, 0 if speakers is None else len(set(speakers))
    if voices > 1:
        kind, folds = StratifiedGroupKFold, min(FOLDS, voices)
    judged = np.zeros_like(members[0], dtype=np.float64)
    for found_on, judged_on in kind(folds, shuffle=True, random_state=seed).split(truth, truth, speakers):
        weights = genetic_weights([one[found_on] for one in members], truth[found_on], seed, generations)
        judged[judged_on] = average([one[judged_on] for one in members], weights)
    return judged


def joined(
    way: Way,
    kept: Mapping[str, Mapping[str, NDArray[Any]]],
    clips: Clips,
    seed: int,
    *,
    generations: int = GENERATIONS,
    unheard: bool = False,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Figures and probabilities of the ensemble of what the members `kept`, by their names; as Study.work.

    `unheard`: the test's speakers are none of those that were learned from.
    """
    rows = next(iter(kept.values()))["rows"]
    members = [one["probabilities"] for one in kept.values()]
    truth, weights = clips.labels[rows], None
    if way == "genetic":
        weights = genetic_weights(members, truth, seed, generations)
    if way == "genetic-nested":
        speakers = clips.table["speaker"].to_numpy(object)[rows] if unheard else None
        together = nested(members, truth, seed, generations, speakers)
    else:
        together = average(members, weights)
    figures = score(clips, rows, together)
    if weights is not None:
        figures["weights"] = dict(zip(kept, (round(float(weight), 4) for weight in weights), strict=True))
    return figures, {"rows": rows, "probabilities": together}


def table(records: Sequence[Mapping[str, Any]], paper: Mapping[str, float]) -> Table | None:
    """The weights that were found on the test clips, beside the paper's; None where there are none."""
    rows = []
    for protocol in PROTOCOLS:
        for number, told in enumerate(of(records, "genetic", protocol)):
            rows.append((f"{protocol}, run {number}", *(f"{told['weights'].get(name, 0):.3f}" for name in paper)))
    told = "By a genetic algorithm, on the clips that they are reported on, as published. They sum to 1."
    theirs = ("the paper, random", *(f"{weight:.3f}" for weight in paper.values()))
    return Table("The ensemble's weights", told, ("found in", *paper), (theirs, *rows)) if rows else None


def _normalised(genes: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.clip(genes, 0, None)
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(genes), 1 / len(genes))


def _mean_of_parents(parents: NDArray[np.float64], size: tuple[int, int], search: pygad.GA) -> NDArray[np.float64]:
    """The paper's average crossover: each child is the mean of two neighbouring parents."""
    del search
    first = np.arange(size[0]) % len(parents)
    return (parents[first] + parents[(first + 1) % len(parents)]) / 2
