"""How well sounds retrieve their tags in the aligned space, beside chance and popularity.

Four measures, all in [0, 1], higher is better:

* ``macro_auc``: the area under the ROC curve of a tag over the sounds, mean over the tags that
  enough sounds have.
* ``mrr``: a sound ranks the distinct tag sets of all sounds; the mean reciprocal rank of its own.
* ``map``: a sound ranks the single tags; the mean average precision of its own tags.
* ``recall_at_10``: the share of a sound's tags among its ten best.

Every measure is its expectation over a random order of equal scores (see ``ranking``). A constant
score therefore gives exactly what ``chance`` gives; an average rank, the usual alternative, would
give it 2 / (n + 1) in ``mrr``, less than chance.

Scores are computed in chunks of rows: all sounds by all tag sets take 2.9 GB at the paper's 18,990
validation sounds. Several processes share the sounds, and for ``macro_auc`` the tags, and merge
sums and weights.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8
from threadpoolctl import threadpool_limits

from coala_jax.evaluation import ranking
from coala_jax.evaluation.scores import COSINE_STEPS, Products, Scores, unit
from coala_jax.evaluation.work_shard import WHOLE, WorkShard
from coala_jax.models.bank import Bank

MINIMUM_SOUNDS = 3  # with the tag; with fewer its AUC is mostly noise
CUTOFF = 10  # of recall_at_10
# Rankings in a chunk, which one core computes. With 18,990 columns the scores take 19 MB and their
# sorting 140 MB, hence the limit on threads. Sets are not sorted: their chunks are twice as large.
_CHUNK_ROWS = 128
_MOST_THREADS = 16
_VOTE_BOUNDS = (1e-6, 1 - 1e-6)  # of a share whose logit is taken

Targets = Bool[np.ndarray, "sound tag"] | UInt8[np.ndarray, "sound tag"]
Metrics = dict[str, float | int | None]


@runtime_checkable
class AlignedModel(Protocol):
    """AE-C or E-C, with sounds and tags in one space. It batches by itself."""

    case: str  # "ae_c" or "e_c"

    def project_audio(
        self, patches: Float32[np.ndarray, "sound 96 96"]
    ) -> Float32[np.ndarray, "sound dimension"]: ...

    def project_tags(
        self, multi_hot: UInt8[np.ndarray, "row tag"]
    ) -> Float32[np.ndarray, "row dimension"]: ...


@runtime_checkable
class TagPredictor(Protocol):
    """The CNN case, with a logit for every tag. It batches by itself."""

    case: str  # "cnn"

    def tag_logits(
        self, patches: Float32[np.ndarray, "sound 96 96"]
    ) -> Float32[np.ndarray, "sound tag"]: ...


def evaluate_retrieval(
    model: AlignedModel | TagPredictor,
    patches: Float32[np.ndarray, "own_sound 96 96"],
    targets: Targets,
    shard: WorkShard = WHOLE,
    bank: Bank | None = None,
) -> Metrics:
    """``retrieval_metrics`` of a model on sounds that it was not trained on.

    AE-C and E-C score by the cosine of the two embeddings in the aligned space; a single tag is its
    one-hot vector through the tag encoder. The CNN scores a tag by its logit l, and a set by its
    Bernoulli log-likelihood, the sum of y l - softplus(l), without the softplus terms, which are
    the same for all sets of a sound.

    With a bank, AE-C and E-C score a tag by the share p of its vote, and a set as the CNN does, the
    logit of p within [1e-6, 1 - 1e-6] in the place of l. The bank must not hold the sounds.

    Compare ``map`` and ``recall_at_10`` with ``popularity``, which is hard to beat there: most tags
    of most sounds are common, and a cosine has no prior of how common a tag is.

    Args:
      patches: of this process's sounds, ``shard.of(len(targets))``.
      targets: of all sounds.

    Raises:
      ValueError: the case is unknown, or as ``retrieval_metrics`` does.
    """
    own = shard.of(len(targets))
    if len(patches) != own.stop - own.start:
        raise ValueError(
            f"{len(patches)} patches, but this process has {own.stop - own.start} of the "
            f"{len(targets)} sounds"
        )
    sets, own_set = distinct_sets(targets)
    if model.case in ("ae_c", "e_c"):

        def project_tags(multi_hot: UInt8[np.ndarray, "row tag"]) -> Float64[np.ndarray, "row _"]:
            return unit(shard.map_rows(model.project_tags, multi_hot[shard.of(len(multi_hot))]))

        projected = shard.map_rows(model.project_audio, patches)
        if bank is not None:
            vote = bank.vote(projected).astype(np.float64)
            odds = scipy.special.logit(np.clip(vote, *_VOTE_BOUNDS))
            return retrieval_metrics(
                vote, Products(odds, sets.astype(np.float64)), targets, own_set, shard=shard
            )
        sounds = unit(projected)
        sounds *= COSINE_STEPS
        one_hots = np.eye(targets.shape[1], dtype=np.uint8)
        tag_scores = Products(sounds, project_tags(one_hots), in_steps=True)
        set_scores = Products(sounds, project_tags(sets), in_steps=True)
    elif model.case == "cnn":
        logits = shard.map_rows(model.tag_logits, patches).astype(np.float64)
        tag_scores, set_scores = logits, Products(logits, sets.astype(np.float64))
    else:
        raise ValueError(f"unknown case {model.case!r}: retrieval is for ae_c, e_c and cnn")
    return retrieval_metrics(tag_scores, set_scores, targets, own_set, shard=shard)


def retrieval_metrics(
    tag_scores: Scores,
    set_scores: Scores,
    targets: Targets,
    own_set: Int[np.ndarray, " sound"],
    minimum_sounds: int = MINIMUM_SOUNDS,
    shard: WorkShard = WHOLE,
) -> Metrics:
    """The four measures of the module's docstring, and the counts behind them.

    Args:
      tag_scores: [sound, tag], on any scale, higher is better.
      set_scores: [sound, set], the same for each distinct tag set of all sounds.
      targets: 1 where the sound has the tag.
      own_set: column of ``set_scores`` that is the sound's own tag set.
      minimum_sounds: ``macro_auc`` counts tags that at least so many sounds have, but not all.
      shard: which sounds and tags this process ranks. All processes get the same result.

    Returns:
      ``macro_auc``, ``mrr``, ``map``, ``recall_at_10`` in [0, 1]; the counts ``tags_counted`` (in
      ``macro_auc``), ``sounds`` and ``tag_sets``. ``macro_auc`` is None when no tag counts.

    Raises:
      ValueError: shapes do not match, a score is not finite, a sound has no tags.
    """
    relevant = _check_targets(targets)
    counted = _counted_tags(relevant, minimum_sounds)
    if tag_scores.shape != relevant.shape or set_scores.shape[0] != len(relevant):
        raise ValueError(
            f"tag_scores {tag_scores.shape} and set_scores {set_scores.shape} do not match targets "
            f"{relevant.shape}"
        )
    own_tags = counted[shard.of(len(counted))]
    own_sounds = np.arange(len(relevant))[shard.of(len(relevant))]

    def rank_tags(sounds: Int[np.ndarray, " row"]) -> Float64[np.ndarray, "measure row"]:
        scores = _check_finite("tag_scores", tag_scores[sounds], sounds)
        return np.stack(ranking.precision_and_recall(scores, relevant[sounds], CUTOFF))

    def rank_sets(sounds: Int[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
        scores = _check_finite("set_scores", set_scores[sounds], sounds)
        return ranking.reciprocal_ranks(scores, own_set[sounds])

    def rank_sounds(tags: Int[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
        return ranking.auc(tag_scores.T[tags], relevant.T[tags])

    precision, recall = _sums(rank_tags, own_sounds, measures=2)
    (reciprocal_rank,) = _sums(rank_sets, own_sounds, chunk_rows=2 * _CHUNK_ROWS)
    (auc,) = _sums(rank_sounds, own_tags)
    merged = shard.all_gather(np.array([[auc, reciprocal_rank, precision, recall]]))
    auc, reciprocal_rank, precision, recall = map(math.fsum, merged.T)
    return {
        "macro_auc": auc / len(counted) if len(counted) else None,
        "mrr": reciprocal_rank / len(relevant),
        "map": precision / len(relevant),
        "recall_at_10": recall / len(relevant),
        "tags_counted": len(counted),
        "sounds": len(relevant),
        "tag_sets": set_scores.shape[1],
    }


def _sums(
    measure: Callable[[Int[np.ndarray, " row"]], Float64[np.ndarray, "..."]],
    rows: Int[np.ndarray, " row"],
    measures: int = 1,
    chunk_rows: int | None = None,
) -> list[float]:
    """The sum of each measure over the rows, computed in chunks, one per core.

    NumPy sorts and compares on one core only, and products on all cores would wait for the slowest
    in each chunk.
    """
    size = chunk_rows or _CHUNK_ROWS
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        parts = [values.reshape(measures, -1) for values in pool.map(measure, chunks)]
    return [math.fsum(values) for values in np.hstack([np.empty((measures, 0)), *parts])]


def distinct_sets(
    targets: Targets,
) -> tuple[UInt8[np.ndarray, "set tag"], Int[np.ndarray, " sound"]]:
    """The distinct rows of ``targets`` in lexical order, and each sound's index among them."""
    bits = np.packbits(targets != 0, axis=1)  # sorted in the same order, eight times as fast
    sets, own_set = np.unique(bits, axis=0, return_inverse=True)
    return np.unpackbits(sets, axis=1, count=targets.shape[1]), own_set.reshape(-1)


def chance(targets: Targets, minimum_sounds: int = MINIMUM_SOUNDS) -> Metrics:
    """The expectation of ``retrieval_metrics`` for random rankings.

    With n tag sets, C tags, R of them the sound's own, and H_n = 1 + 1/2 + ... + 1/n: ``mrr`` is
    H_n / n, average precision is H_C / C + (R - 1) / (C - 1) (1 - H_C / C), recall is
    min(10, C) / C. Raises ValueError as ``retrieval_metrics`` does.
    """
    relevant = _check_targets(targets)
    counted = _counted_tags(relevant, minimum_sounds)
    tags, sets = relevant.shape[1], len(distinct_sets(targets)[0])
    first = ranking.harmonic(tags)[-1] / tags
    others = (relevant.sum(axis=1) - 1) / max(tags - 1, 1)
    return {
        "macro_auc": 0.5 if len(counted) else None,
        "mrr": float(ranking.harmonic(sets)[-1] / sets),
        "map": float(np.mean(first + others * (1 - first))),
        "recall_at_10": min(CUTOFF, tags) / tags,
        "tags_counted": len(counted),
        "sounds": len(relevant),
        "tag_sets": sets,
    }


def popularity(
    train_frequency: Float[np.ndarray, " tag"],
    targets: Targets,
    train_sounds: int,
    minimum_sounds: int = MINIMUM_SOUNDS,
) -> Metrics:
    """``retrieval_metrics`` of a guess by the training tags that ignores the sound.

    A tag's score is its training frequency, a tag set's its log-likelihood under independent tags,
    with frequencies smoothed by half a sound with and half a sound without the tag (Jeffreys), so
    that a set with a tag unseen in training is unlikely, not impossible. All sounds get the same
    scores: ``macro_auc`` is 0.5 by construction.

    Args:
      train_frequency: share of the training sounds that have the tag, in [0, 1].
      targets: 1 where the validation sound has the tag.
      train_sounds: number of training sounds, for the smoothing.
      minimum_sounds: as in ``retrieval_metrics``.

    Raises ValueError for frequencies outside [0, 1], ``train_sounds`` below 1, and as
    ``retrieval_metrics`` does.
    """
    if train_sounds < 1 or not np.all((train_frequency >= 0) & (train_frequency <= 1)):
        raise ValueError(
            f"train_frequency must be in [0, 1], the share of {train_sounds} training sounds with "
            "the tag. Fix: divide counts by the number of training sounds"
        )
    if len(train_frequency) != targets.shape[1]:
        raise ValueError(f"{len(train_frequency)} frequencies, but targets {targets.shape}")
    sets, own_set = distinct_sets(targets)
    smoothed = (train_frequency.astype(np.float64) * train_sounds + 0.5) / (train_sounds + 1)
    absent = np.log1p(-smoothed)
    likelihood = absent.sum() + sets.astype(np.float64) @ (np.log(smoothed) - absent)
    likelihood = np.round(likelihood, 9)  # equal sums in another order must tie
    rows = len(targets)
    return retrieval_metrics(
        np.broadcast_to(train_frequency, (rows, len(train_frequency))),
        np.broadcast_to(likelihood, (rows, len(likelihood))),
        targets,
        own_set,
        minimum_sounds,
    )


def _check_targets(targets: Targets) -> Bool[np.ndarray, "sound tag"]:
    if targets.ndim != 2 or 0 in targets.shape:
        raise ValueError(f"targets must be [sound, tag] with at least one of each: {targets.shape}")
    relevant = targets.astype(bool)
    bare = np.flatnonzero(~relevant.any(axis=1))
    if len(bare):
        raise ValueError(
            f"{len(bare)} sounds without tags, the first is row {bare[0]}. Fix: drop them"
        )
    return relevant


def _counted_tags(
    relevant: Bool[np.ndarray, "sound tag"], minimum_sounds: int
) -> Int[np.ndarray, " counted"]:
    having = relevant.sum(axis=0)
    return np.flatnonzero((having >= minimum_sounds) & (having < len(relevant)))


def _check_finite(
    name: str, scores: Float[np.ndarray, "row column"], sounds: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "row column"]:
    if not np.isfinite(scores.sum()):  # a quarter of the time of asking each score
        row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
        raise ValueError(
            f"{name} are NaN or infinite, the first at ({int(sounds[row])}, {column}): "
            "the model diverged"
        )
    return scores
