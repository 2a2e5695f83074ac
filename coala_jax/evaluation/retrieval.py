"""How well sounds find their tags in the aligned space, beside chance and popularity.

Four measures, all between 0 and 1, higher is better:

* ``macro_auc``: for a tag, the probability that a sound with it scores higher than one without it;
  the mean over the tags that enough sounds have.
* ``mrr``: a sound ranks the distinct tag sets of all sounds; the mean reciprocal rank of its own.
* ``map``: a sound ranks the single tags; the mean average precision of its own tags.
* ``recall_at_10``: the share of a sound's tags among its ten best.

Every measure is its expectation over a random order of equal scores. A constant score therefore
gives exactly what ``chance`` gives, never more: an average rank, the usual alternative, would give
it 2 / (n + 1) in ``mrr``, less than chance. ``ranking`` has the formulas.

Scores are computed a chunk of rows at a time: all sounds by all tag sets are 2.9 GB at the paper's
18,990 validation sounds. Several processes divide the sounds, and for ``macro_auc`` the tags, and
merge sums and weights.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8
from threadpoolctl import threadpool_limits

from coala_jax.evaluation import ranking
from coala_jax.evaluation.scores import COSINE_STEPS, Products, Scores, unit
from coala_jax.evaluation.work_shard import WHOLE, WorkShard

MINIMUM_SOUNDS = 3  # sounds of a tag, below which its AUC is mostly noise
CUTOFF = 10  # of recall_at_10
# Rankings in a chunk, which one core computes. With 18,990 columns its scores take 19 MB, and what
# sorting them needs 140 MB: hence not more threads. Sets are counted and not sorted, and chunks of
# twice the rows bring their products nearer to the full rate.
_CHUNK_ROWS = 128
_MOST_THREADS = 16

Targets = Bool[np.ndarray, "sound tag"] | UInt8[np.ndarray, "sound tag"]
Metrics = dict[str, float | int | None]


@runtime_checkable
class AlignedModel(Protocol):
    """AE-C or E-C: sounds and tags meet in one space. Batching is the model's business."""

    case: str  # "ae_c" or "e_c"

    def project_audio(
        self, patches: Float32[np.ndarray, "sound 96 96"]
    ) -> Float32[np.ndarray, "sound dimension"]: ...

    def project_tags(
        self, multi_hot: UInt8[np.ndarray, "row tag"]
    ) -> Float32[np.ndarray, "row dimension"]: ...


@runtime_checkable
class TagPredictor(Protocol):
    """The CNN case: a logit for every tag. Batching is the model's business."""

    case: str  # "cnn"

    def tag_logits(
        self, patches: Float32[np.ndarray, "sound 96 96"]
    ) -> Float32[np.ndarray, "sound tag"]: ...


def evaluate_retrieval(
    model: AlignedModel | TagPredictor,
    patches: Float32[np.ndarray, "own_sound 96 96"],
    targets: Targets,
    shard: WorkShard = WHOLE,
) -> Metrics:
    """``retrieval_metrics`` of a model on sounds it was not trained on.

    Args:
      patches: of the sounds ``shard.of(len(targets))``.
      targets: of all sounds.

    AE-C and E-C score by the cosine of the two embeddings in the aligned space; a single tag is its
    one-hot vector through the tag encoder. The CNN scores a tag by its logit, and a set by the
    Bernoulli log-likelihood, sum of y l - softplus(l), less the softplus terms: they are the same
    for all sets of one sound, so they change no rank.

    Read ``map`` and ``recall_at_10`` beside ``popularity``, which is hard to beat there: most tags
    of most sounds are common ones, and a cosine carries no prior of how common a tag is.

    Raises ValueError for an unknown case and for whatever ``retrieval_metrics`` refuses.
    """
    own = shard.of(len(targets))
    if len(patches) != own.stop - own.start:
        raise ValueError(
            f"{len(patches)} patches but targets for {len(targets)} sounds, of which this process "
            f"has {own.stop - own.start}"
        )
    sets, own_set = distinct_sets(targets)
    if model.case in ("ae_c", "e_c"):

        def project_tags(multi_hot: UInt8[np.ndarray, "row tag"]) -> Float64[np.ndarray, "row _"]:
            return unit(shard.map_rows(model.project_tags, multi_hot[shard.of(len(multi_hot))]))

        sounds = unit(shard.map_rows(model.project_audio, patches))
        sounds *= COSINE_STEPS
        one_hots = np.eye(targets.shape[1], dtype=np.uint8)
        tag_scores = Products(sounds, project_tags(one_hots), in_steps=True)
        set_scores = Products(sounds, project_tags(sets), in_steps=True)
    elif model.case == "cnn":
        logits = shard.map_rows(model.tag_logits, patches).astype(np.float64)
        tag_scores, set_scores = logits, Products(logits, sets.astype(np.float64))
    else:
        raise ValueError(f"unknown case {model.case!r}; retrieval knows ae_c, e_c and cnn")
    return retrieval_metrics(tag_scores, set_scores, targets, own_set, shard=shard)


def retrieval_metrics(
    tag_scores: Scores,
    set_scores: Scores,
    targets: Targets,
    own_set: Int[np.ndarray, " sound"],
    minimum_sounds: int = MINIMUM_SOUNDS,
    shard: WorkShard = WHOLE,
) -> Metrics:
    """The four measures of the module's docstring, and what they were counted over.

    Args:
      tag_scores: [sound, tag], how well they match; any scale, higher is better.
      set_scores: [sound, set], the same for each distinct tag set of all sounds.
      targets: 1 where the sound has the tag.
      own_set: column of ``set_scores`` that is the sound's own tag set.
      minimum_sounds: a tag counts in ``macro_auc`` when this many sounds have it, and one has not.
      shard: which of the sounds and tags this process ranks. All processes get the same result.

    Returns:
      ``macro_auc``, ``mrr``, ``map``, ``recall_at_10`` in [0, 1]; ``tags_counted`` in
      ``macro_auc``, ``sounds``, ``tag_sets`` as counts. ``macro_auc`` is None when no tag counts.

    Raises:
      ValueError: shapes that do not fit, a score that is not finite, a sound without tags.
    """
    relevant = _checked(targets)
    counted = _counted_tags(relevant, minimum_sounds)
    _check_shapes(tag_scores, set_scores, relevant, own_set)
    own_tags = counted[shard.of(len(counted))]
    own_sounds = np.arange(len(relevant))[shard.of(len(relevant))]

    def rank_tags(sounds: Int[np.ndarray, " row"]) -> Float64[np.ndarray, "measure row"]:
        scores = _finite("tag_scores", tag_scores[sounds], sounds)
        return np.stack(ranking.precision_and_recall(scores, relevant[sounds], CUTOFF))

    def rank_sets(sounds: Int[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
        scores = _finite("set_scores", set_scores[sounds], sounds)
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
    """The sum over the rows of each measure, which is given them in chunks, one a core.

    NumPy sorts and compares on one core only, and products that share all cores wait for the
    slowest at each chunk.
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
    """The distinct rows of ``targets`` in lexical order, and the row among them of each sound."""
    bits = np.packbits(targets != 0, axis=1)  # sorted in the same order, eight times as fast
    sets, own_set = np.unique(bits, axis=0, return_inverse=True)
    return np.unpackbits(sets, axis=1, count=targets.shape[1]), own_set.reshape(-1)


def chance(targets: Targets, minimum_sounds: int = MINIMUM_SOUNDS) -> Metrics:
    """What ``retrieval_metrics`` gives on average when every ranking is a random one.

    With n tag sets, C tags, R of them the sound's own, and H_n = 1 + 1/2 + ... + 1/n: ``mrr`` is
    H_n / n, average precision is H_C / C + (R - 1) / (C - 1) (1 - H_C / C), recall is
    min(10, C) / C. Raises ValueError as ``retrieval_metrics`` does.
    """
    relevant = _checked(targets)
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
    """``retrieval_metrics`` of a guess that has seen the training tags and hears nothing.

    A tag scores its training frequency, a tag set its log-likelihood if tags came independently,
    with frequencies smoothed by half a sound with and half a sound without the tag (Jeffreys), so
    that a set with a tag unseen in training is unlikely and not impossible. All sounds get the same
    scores: ``macro_auc`` is .5 by construction.

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
            f"train_frequency is the share of the {train_sounds} training sounds with a tag and "
            f"must be in [0, 1]; divide counts by the number of training sounds"
        )
    if len(train_frequency) != targets.shape[1]:
        raise ValueError(f"{len(train_frequency)} frequencies but targets {targets.shape}")
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


def _checked(targets: Targets) -> Bool[np.ndarray, "sound tag"]:
    if targets.ndim != 2 or 0 in targets.shape:
        raise ValueError(f"targets must be [sound, tag] with at least one of each: {targets.shape}")
    relevant = targets.astype(bool)
    bare = np.flatnonzero(~relevant.any(axis=1))
    if len(bare):
        raise ValueError(f"{len(bare)} sounds have no tag, the first is row {bare[0]}: drop them")
    return relevant


def _counted_tags(
    relevant: Bool[np.ndarray, "sound tag"], minimum_sounds: int
) -> Int[np.ndarray, " counted"]:
    having = relevant.sum(axis=0)
    return np.flatnonzero((having >= minimum_sounds) & (having < len(relevant)))


def _check_shapes(
    tag_scores: Scores,
    set_scores: Scores,
    relevant: Bool[np.ndarray, "..."],
    own_set: Int[np.ndarray, "..."],
) -> None:
    if tag_scores.shape != relevant.shape:
        raise ValueError(f"tag_scores {tag_scores.shape} do not fit targets {relevant.shape}")
    rows = (len(relevant),)
    if len(set_scores.shape) != 2 or set_scores.shape[:1] != rows or own_set.shape != rows:
        raise ValueError(
            f"set_scores {set_scores.shape} and own_set {own_set.shape} do not fit "
            f"{len(relevant)} sounds"
        )
    if own_set.min() < 0 or own_set.max() >= set_scores.shape[1]:
        raise ValueError(
            f"own_set runs from {own_set.min()} to {own_set.max()}, "
            f"set_scores has columns 0 to {set_scores.shape[1] - 1}"
        )


def _finite(
    name: str, scores: Float[np.ndarray, "row column"], sounds: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "row column"]:
    if not np.isfinite(scores.sum()):  # a quarter of the time of asking each score
        row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
        raise ValueError(
            f"{name} are NaN or infinite, the first at ({int(sounds[row])}, {column}): "
            "the model diverged"
        )
    return scores
