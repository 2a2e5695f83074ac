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
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8

from coala_jax.evaluation import ranking

MINIMUM_SOUNDS = 3  # sounds of a tag, below which its AUC is mostly noise
CUTOFF = 10  # of recall_at_10

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
    patches: Float32[np.ndarray, "sound 96 96"],
    targets: Targets,
) -> Metrics:
    """``retrieval_metrics`` of a model on sounds it was not trained on.

    AE-C and E-C score by the cosine of the two embeddings in the aligned space; a single tag is its
    one-hot vector through the tag encoder. The CNN scores a tag by its logit, and a set by the
    Bernoulli log-likelihood, sum of y l - softplus(l), less the softplus terms: they are the same
    for all sets of one sound, so they change no rank.

    Read ``map`` and ``recall_at_10`` beside ``popularity``, which is hard to beat there: most tags
    of most sounds are common ones, and a cosine carries no prior of how common a tag is.

    Raises ValueError for an unknown case and for whatever ``retrieval_metrics`` refuses.
    """
    if len(patches) != len(targets):
        raise ValueError(f"{len(patches)} patches but targets for {len(targets)} sounds")
    sets, own_set = distinct_sets(targets)
    if model.case in ("ae_c", "e_c"):
        sounds = model.project_audio(patches)
        one_hots = np.eye(targets.shape[1], dtype=np.uint8)
        tag_scores = cosine(sounds, model.project_tags(one_hots))
        set_scores = cosine(sounds, model.project_tags(sets))
    elif model.case == "cnn":
        tag_scores = model.tag_logits(patches).astype(np.float64)
        set_scores = tag_scores @ sets.T.astype(np.float64)
    else:
        raise ValueError(f"unknown case {model.case!r}; retrieval knows ae_c, e_c and cnn")
    return retrieval_metrics(tag_scores, set_scores, targets, own_set)


def retrieval_metrics(
    tag_scores: Float[np.ndarray, "sound tag"],
    set_scores: Float[np.ndarray, "sound set"],
    targets: Targets,
    own_set: Int[np.ndarray, " sound"],
    minimum_sounds: int = MINIMUM_SOUNDS,
) -> Metrics:
    """The four measures of the module's docstring, and what they were counted over.

    Args:
      tag_scores: how well a sound and a single tag match; any scale, higher is better.
      set_scores: the same for a sound and each distinct tag set of all sounds.
      targets: 1 where the sound has the tag.
      own_set: column of ``set_scores`` that is the sound's own tag set.
      minimum_sounds: a tag counts in ``macro_auc`` when this many sounds have it, and one has not.

    Returns:
      ``macro_auc``, ``mrr``, ``map``, ``recall_at_10`` in [0, 1]; ``tags_counted`` in
      ``macro_auc``, ``sounds``, ``tag_sets`` as counts. ``macro_auc`` is None when no tag counts.

    Raises:
      ValueError: shapes that do not fit, a score that is not finite, a sound without tags.
    """
    relevant = _checked(targets)
    counted = _counted_tags(relevant, minimum_sounds)
    _check_scores(tag_scores, set_scores, relevant, own_set)
    by_tag = [ranking.auc(tag_scores[:, t], relevant[:, t]) for t in counted]
    rows = zip(tag_scores, relevant, strict=True)
    by_sound = np.array([ranking.precision_and_recall(*row, CUTOFF) for row in rows])
    return {
        "macro_auc": float(np.mean(by_tag)) if by_tag else None,
        "mrr": float(np.mean(ranking.reciprocal_ranks(set_scores, own_set))),
        "map": float(by_sound[:, 0].mean()),
        "recall_at_10": float(by_sound[:, 1].mean()),
        "tags_counted": len(counted),
        "sounds": len(relevant),
        "tag_sets": set_scores.shape[1],
    }


def distinct_sets(
    targets: Targets,
) -> tuple[UInt8[np.ndarray, "set tag"], Int[np.ndarray, " sound"]]:
    """The distinct rows of ``targets`` in lexical order, and the row among them of each sound."""
    sets, own_set = np.unique((targets != 0).astype(np.uint8), axis=0, return_inverse=True)
    return sets, own_set.reshape(-1)


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
    likelihood = sets @ np.log(smoothed) + (1 - sets.astype(np.float64)) @ np.log1p(-smoothed)
    likelihood = np.round(likelihood, 9)  # equal sums in another order must tie
    rows = len(targets)
    return retrieval_metrics(
        np.tile(train_frequency, (rows, 1)),
        np.tile(likelihood, (rows, 1)),
        targets,
        own_set,
        minimum_sounds,
    )


def cosine(
    a: Float[np.ndarray, "row dimension"], b: Float[np.ndarray, "column dimension"]
) -> Float64[np.ndarray, "row column"]:
    """Cosine of every row of ``a`` with every row of ``b``, in [-1, 1]; 0 where one is zero.

    Rounded to 12 digits, far below what float32 embeddings tell: a matrix product may give equal
    rows sums that differ in the last bit, by where they fall in its blocks, and the embeddings of a
    collapsed encoder must tie.
    """
    return np.round(np.clip(_unit(a) @ _unit(b).T, -1, 1), 12)


def _unit(rows: Float[np.ndarray, "row dimension"]) -> Float64[np.ndarray, "row dimension"]:
    rows = rows.astype(np.float64)
    # Divided by the largest value first, so that no square over- or underflows.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    with np.errstate(invalid="ignore"):  # infinities become NaN, which _check_scores names
        rows = rows / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


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


def _check_scores(
    tag_scores: Float[np.ndarray, "..."],
    set_scores: Float[np.ndarray, "..."],
    relevant: Bool[np.ndarray, "..."],
    own_set: Int[np.ndarray, "..."],
) -> None:
    if tag_scores.shape != relevant.shape:
        raise ValueError(f"tag_scores {tag_scores.shape} do not fit targets {relevant.shape}")
    rows = (len(relevant),)
    if set_scores.ndim != 2 or set_scores.shape[:1] != rows or own_set.shape != rows:
        raise ValueError(
            f"set_scores {set_scores.shape} and own_set {own_set.shape} do not fit "
            f"{len(relevant)} sounds"
        )
    if own_set.min() < 0 or own_set.max() >= set_scores.shape[1]:
        raise ValueError(
            f"own_set runs from {own_set.min()} to {own_set.max()}, "
            f"set_scores has columns 0 to {set_scores.shape[1] - 1}"
        )
    for name, scores in (("tag_scores", tag_scores), ("set_scores", set_scores)):
        bad = np.argwhere(~np.isfinite(scores))
        if len(bad):
            raise ValueError(
                f"{len(bad)} {name} are NaN or infinite, the first at {tuple(bad[0].tolist())}"
            )
