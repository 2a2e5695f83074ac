"""Retrieval measures against hand calculation, `ranking`, chance and popularity."""

import functools
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import jaxtyping
import numpy as np
import pytest

from coala_jax.evaluation import ranking, retrieval
from coala_jax.evaluation.scores import cosine
from coala_jax.evaluation.work_shard import WHOLE, WorkShard

MEASURES = ("macro_auc", "mrr", "map", "recall_at_10")


def random_targets(seed: int, sounds: int = 24, tags: int = 14) -> np.ndarray:
    """Sounds with one to about six tags, common tags first, at least one per sound."""
    rng = np.random.default_rng(seed)
    targets = rng.random((sounds, tags)) < np.linspace(0.6, 0.05, tags)
    targets[np.arange(sounds), rng.integers(0, 3, sounds)] = True
    return targets.astype(np.uint8)


def random_scores(targets, seed: int, levels: int) -> tuple:
    """Of tags and of sets."""
    rng, (sets, _) = np.random.default_rng(seed), retrieval.distinct_sets(targets)
    shape = len(targets), len(sets)
    return rng.integers(0, levels, targets.shape) * 1.0, rng.integers(0, levels, shape) * 1.0


def metrics_of(tag_scores, targets, set_scores=None, **options):
    """retrieval_metrics, with constant scores of the sets where the test is not about them."""
    sets, own_set = retrieval.distinct_sets(targets)
    if set_scores is None:
        set_scores = np.zeros((len(targets), len(sets)))
    return retrieval.retrieval_metrics(tag_scores, set_scores, targets, own_set, **options)


def test_values_worked_out_by_hand():
    targets = np.array([[1, 0], [1, 1], [1, 1], [0, 1], [0, 1]], np.uint8)
    tag_scores = np.array([[0.9, 0.95], [0.4, 0.1], [0.3, 0.2], [0.1, 0.3], [0.5, 0.2]])
    # Sets in lexical order: {1}, {0}, {0, 1}. Ranks of the own set: 3, 1, 2, 1, 2.
    sets, own_set = retrieval.distinct_sets(targets)
    assert sets.tolist() == [[0, 1], [1, 0], [1, 1]]
    assert own_set.tolist() == [1, 2, 2, 0, 0]
    set_scores = np.array([[3, 1, 2], [1, 2, 3], [3, 1, 2], [3, 2, 1], [2, 3, 1]], np.float32)
    got = metrics_of(tag_scores, targets, set_scores)
    assert got["mrr"] == pytest.approx((1 / 3 + 1 + 1 / 2 + 1 + 1 / 2) / 5, abs=1e-12)
    # Average precision: 1/2 (own tag second), 1, 1, 1, 1/2.
    assert got["map"] == pytest.approx((1 / 2 + 1 + 1 + 1 + 1 / 2) / 5, abs=1e-12)
    assert got["recall_at_10"] == 1.0
    # Tag 0: sounds 0 to 2 score .9 .4 .3 against .1 .5: of 6 pairs 4 are won.
    # Tag 1: sounds 1 to 4 score .1 .2 .3 .2 against .95: of 4 pairs none is won.
    assert got["macro_auc"] == pytest.approx((4 / 6 + 0 / 4) / 2, abs=1e-12)
    assert (got["tags_counted"], got["sounds"], got["tag_sets"]) == (2, 5, 3)


@pytest.mark.parametrize(
    ("sounds_of_tag", "minimum", "counted"),
    [(2, 3, 1), (3, 3, 2), (6, 3, 1), (4, 5, 0)],
)
def test_a_tag_counts_with_minimum_sounds_and_not_when_all_have_it(sounds_of_tag, minimum, counted):
    targets = np.zeros((6, 3), np.uint8)
    targets[:sounds_of_tag, 0] = 1
    targets[:, 1] = 1  # on all sounds: no negative
    targets[:4, 2] = 1
    for got in (
        metrics_of(np.zeros((6, 3)), targets, minimum_sounds=minimum),
        retrieval.chance(targets, minimum_sounds=minimum),
    ):
        assert got["tags_counted"] == counted
        assert got["macro_auc"] == (0.5 if counted else None)


def test_chance_worked_out_by_hand():
    # Sets {0}, {1}, {0, 1}: H_3 / 3. Two tags: E[AP] is 3/4 for one tag and 1 for both.
    got = retrieval.chance(np.array([[1, 0], [1, 0], [1, 0], [0, 1], [1, 1]], bool))
    assert got["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3, abs=1e-12)
    assert got["map"] == pytest.approx((4 * 0.75 + 1) / 5, abs=1e-12)
    assert got["recall_at_10"] == 1.0
    assert retrieval.chance(np.ones((4, 40), bool))["recall_at_10"] == 0.25


def test_popularity_ranks_single_tags_by_their_frequency():
    targets = np.array([[1, 0, 0]] * 3 + [[1, 1, 0], [0, 1, 1], [0, 0, 1]], np.uint8)
    got = retrieval.popularity(np.array([0.5, 0.2, 0.0]), targets, train_sounds=10)
    assert got["macro_auc"] == 0.5
    precision = [1, 1, 1, 1, (1 / 2 + 2 / 3) / 2, 1 / 3]  # tags come as 0, 1, 2 for every sound
    assert got["map"] == pytest.approx(np.mean(precision), abs=1e-12)


def test_popularity_ranks_sets_by_their_smoothed_likelihood():
    targets = random_targets(0, sounds=30, tags=8)
    frequency = np.random.default_rng(0).integers(0, 5, 8) / 4  # of 4 sounds; 0 and 1 occur
    sets, own_set = retrieval.distinct_sets(targets)
    smoothed = (4 * frequency + 0.5) / 5
    likelihood = np.array([np.log(np.where(row, smoothed, 1 - smoothed)).sum() for row in sets])
    expected = []
    for own in own_set:
        above = np.sum(likelihood > likelihood[own] + 1e-9)
        not_below = np.sum(likelihood > likelihood[own] - 1e-9)
        expected.append(np.mean(1 / np.arange(above + 1, not_below + 1)))
    got = retrieval.popularity(frequency, targets, train_sounds=4)
    assert got["mrr"] == pytest.approx(np.mean(expected), abs=1e-9)
    # By hand: one unseen tag has the odds .5 to 4.5, three tags on one of four sounds (1.5 / 3.5)³.
    targets = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1]], np.uint8)
    got = retrieval.popularity(np.array([0, 0.25, 0.25, 0.25]), targets, train_sounds=4)
    assert got["mrr"] == pytest.approx((1 + 1 + 1 / 2) / 3, abs=1e-12)


def test_cosine_is_a_loops_at_any_scale_and_zero_for_zero_vectors():
    a, b = np.random.default_rng(12).normal(size=(2, 5, 7)).astype(np.float32)
    a[2] = b[1] = 0
    for i, j in itertools.product(range(5), range(5)):
        product = sum(float(x) * float(y) for x, y in zip(a[i], b[j], strict=True))
        lengths = np.linalg.norm(a[i].astype(float)) * np.linalg.norm(b[j].astype(float))
        expected = product / lengths if lengths else 0.0
        assert cosine(a, b)[i, j] == pytest.approx(expected, abs=1e-11)
    row = np.random.default_rng(13).normal(size=(1, 33))
    scaled = np.concatenate([row, row * 1e-300, row * 1e300, -row])
    assert cosine(scaled, row).ravel().tolist() == [1.0, 1.0, 1.0, -1.0]


@pytest.mark.parametrize(("which", "broken"), [(0, np.nan), (1, np.nan), (0, np.inf), (1, -np.inf)])
def test_a_score_that_is_not_finite_is_an_error(which, broken):
    targets = random_targets(15)
    scores = random_scores(targets, 0, 3)
    scores[which][3, 2] = broken
    name = ("tag_scores", "set_scores")[which]
    with pytest.raises(ValueError, match=rf"{name} .* \(3, 2\)"):
        metrics_of(scores[0], targets, scores[1])


def test_bad_input_is_an_error(monkeypatch):
    # jaxtyping is on in the tests alone and would reject the shapes first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    targets, bare = random_targets(16), random_targets(16)
    bare[[5, 9]] = 0
    patches = patches_with(targets)

    def evaluate(patches, case="ae_c", shard=WHOLE):
        return retrieval.evaluate_retrieval(FakeAligned(targets, case), patches, targets, shard)

    def popularity(frequency, sounds=10, tags=14):
        return retrieval.popularity(np.full(tags, frequency), targets, train_sounds=sounds)

    for token, call in [
        ("(24, 13)", lambda: metrics_of(np.zeros((24, 13)), targets)),
        ("(0, 14)", lambda: retrieval.chance(targets[:0])),
        ("row 5", lambda: retrieval.chance(bare)),
        ("row 5", lambda: metrics_of(np.zeros(bare.shape), bare)),
        ("5 patches", lambda: evaluate(patches[:5])),
        ("24 patches", lambda: evaluate(patches, shard=WorkShard(0, 2))),
        ("'vae'", lambda: evaluate(patches, "vae")),
        ("13 frequencies", lambda: popularity(0.5, tags=13)),
        ("train_frequency", lambda: popularity(1.2)),
        ("train_frequency", lambda: popularity(np.nan)),
        ("train_frequency", lambda: popularity(0.5, sounds=0)),
    ]:
        with pytest.raises(ValueError) as error:
            call()
        assert token in str(error.value)


class FakeAligned:
    """Carries a sound's row of targets in its patch, and finds it again."""

    def __init__(self, targets, case="ae_c", scale=1.0):
        self.case, self.scale, self.tags = case, scale, targets.shape[1]

    def project_audio(self, patches):
        vectors = np.zeros((len(patches), 1152), np.float32)
        vectors[:, : self.tags] = patches[:, 0, : self.tags] * self.scale
        return vectors

    def project_tags(self, multi_hot):
        vectors = np.zeros((len(multi_hot), 1152), np.float32)
        vectors[:, : self.tags] = multi_hot
        return vectors


class FakeClassifier:
    """Reads its logits from the patches."""

    case = "cnn"

    def __init__(self, tags):
        self.tags = tags

    def tag_logits(self, patches):
        return patches[:, 0, : self.tags].copy()


def patches_with(rows):
    patches = np.zeros((len(rows), 96, 96), np.float32)
    patches[:, 0, : rows.shape[1]] = rows
    return patches


@pytest.mark.parametrize("case", ["ae_c", "e_c"])
def test_a_perfect_aligned_model_scores_one_and_a_dead_one_chance(case):
    targets = random_targets(17)
    patches = patches_with(targets)
    perfect = retrieval.evaluate_retrieval(FakeAligned(targets, case), patches, targets)
    assert [perfect[m] for m in MEASURES] == pytest.approx([1, 1, 1, 1], abs=1e-12)
    dead = retrieval.evaluate_retrieval(FakeAligned(targets, case, scale=0.0), patches, targets)
    assert dead == pytest.approx(retrieval.chance(targets), abs=1e-12)


@pytest.mark.parametrize("sounds", [127, 129, 300])
def test_a_collapsed_encoder_scores_chance_in_every_chunk(sounds):
    """It has the same vector for every sound and every tag set, with cosine neither 0 nor 1."""
    targets = random_targets(28, sounds)
    model = FakeAligned(targets)
    audio, tag = np.random.default_rng(29).normal(1, 1, (2, 1, 1152)).astype(np.float32)
    model.project_audio = lambda patches: np.repeat(audio, len(patches), axis=0)
    model.project_tags = lambda multi_hot: np.repeat(tag, len(multi_hot), axis=0)
    got = retrieval.evaluate_retrieval(model, patches_with(targets), targets)
    assert got == pytest.approx(retrieval.chance(targets), abs=1e-12)


def test_the_classifier_ranks_sets_by_their_bernoulli_likelihood():
    targets = random_targets(18)
    logits = np.random.default_rng(19).normal(size=targets.shape).astype(np.float32) * 3
    sets, own_set = retrieval.distinct_sets(targets)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    likelihood = np.array(
        [[np.log(np.where(row, p, 1 - p)).sum() for row in sets.astype(bool)] for p in probability]
    )
    rank = 1 + (likelihood > np.take_along_axis(likelihood, own_set[:, None], 1)).sum(axis=1)
    got = retrieval.evaluate_retrieval(FakeClassifier(14), patches_with(logits), targets)
    assert got["mrr"] == pytest.approx(np.mean(1 / rank), abs=1e-12)
    assert got["map"] == pytest.approx(metrics_of(logits, targets)["map"], abs=1e-12)
    assert 1 / len(sets) < got["mrr"] < 1


@pytest.mark.parametrize(("chunk", "levels"), [(1, 3), (23, 3), (24, 1), (25, 1000)])
def test_chunks_change_nothing(chunk, levels, monkeypatch):
    """24 sounds, in one chunk or several, all tied, in part or hardly."""
    monkeypatch.setattr(retrieval, "_CHUNK_ROWS", chunk)
    targets = random_targets(21)
    tag_scores, set_scores = random_scores(targets, 22, levels)
    _, own_set = retrieval.distinct_sets(targets)
    relevant, counted = targets.astype(bool), targets.sum(axis=0) >= 3
    precision, recall = ranking.precision_and_recall(tag_scores, relevant, 10)
    expected = {
        "macro_auc": ranking.auc(tag_scores.T[counted], relevant.T[counted]).mean(),
        "mrr": ranking.reciprocal_ranks(set_scores, own_set).mean(),
        "map": precision.mean(),
        "recall_at_10": recall.mean(),
    }
    got = metrics_of(tag_scores, targets, set_scores)
    assert {m: got[m] for m in MEASURES} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("sounds", "tags"), [(1, 1), (1, 5), (4, 2)])
def test_the_smallest_splits(sounds, tags):
    """One sound or one tag; no tag on enough sounds, or on too many, for an AUC."""
    targets = np.ones((sounds, tags), np.uint8)
    targets[1:, 1:] = 0
    got = metrics_of(targets * 1.0, targets)
    assert got["macro_auc"] is None
    assert got["map"] == got["recall_at_10"] == 1.0
    assert got["mrr"] == retrieval.chance(targets)["mrr"]


def in_processes(count, function):
    """What the function gives in each process, in threads that meet at each gather."""
    barrier, rows = threading.Barrier(count), [None] * count

    def all_gather(index, own):
        barrier.wait(timeout=60)  # all have read what was gathered before
        rows[index] = own
        barrier.wait(timeout=60)
        return np.concatenate(rows)

    shards = [WorkShard(i, count, functools.partial(all_gather, i)) for i in range(count)]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, shards))


@pytest.mark.parametrize(
    ("case", "sounds", "processes"),
    [("ae_c", 24, 2), ("ae_c", 25, 4), ("cnn", 25, 4), ("cnn", 2, 3)],
)
def test_processes_that_share_the_work_get_what_one_gets(case, sounds, processes, monkeypatch):
    """Of 2 sounds, one of 3 processes has none."""
    targets = random_targets(25, sounds=sounds, tags=5)
    noise = np.random.default_rng(26).normal(size=targets.shape)
    patches = patches_with((targets + noise).astype(np.float32))
    model = FakeAligned(targets) if case == "ae_c" else FakeClassifier(5)
    whole = retrieval.evaluate_retrieval(model, patches, targets)
    ranked, ranks = [], ranking.precision_and_recall

    def counting(scores, *arguments):
        ranked.append(len(scores))
        return ranks(scores, *arguments)

    monkeypatch.setattr(ranking, "precision_and_recall", counting)
    found = in_processes(
        processes,
        lambda shard: retrieval.evaluate_retrieval(
            model, patches[shard.of(sounds)], targets, shard
        ),
    )
    assert sum(ranked) == sounds
    assert max(ranked) == -(-sounds // processes)
    assert all(one == found[0] for one in found)
    assert found[0] == pytest.approx(whole, abs=1e-12)
