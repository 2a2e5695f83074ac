"""Retrieval measures against values worked out by hand, scikit-learn, chance and popularity."""

import functools
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import jaxtyping
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.retrieval import one_at_a_time
from coala_jax.evaluation import ranking, retrieval
from coala_jax.evaluation.scores import cosine
from coala_jax.evaluation.work_shard import WorkShard

MEASURES = ("macro_auc", "mrr", "map", "recall_at_10")


def random_targets(seed: int, sounds: int = 24, tags: int = 14) -> np.ndarray:
    """Sounds with one to about six tags, common tags first, every sound with one at least."""
    generator = np.random.default_rng(seed)
    targets = generator.random((sounds, tags)) < np.linspace(0.6, 0.05, tags)
    targets[np.arange(sounds), generator.integers(0, 3, sounds)] = True
    return targets.astype(np.uint8)


def metrics_of(tag_scores, targets, set_scores=None, **options):
    """retrieval_metrics; where the test is not about sets, constant scores for them."""
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


@pytest.mark.parametrize("levels", [2, 5, 1000], ids=["many ties", "some ties", "hardly a tie"])
def test_macro_auc_is_scikit_learns(levels):
    targets = random_targets(1)
    scores = np.random.default_rng(2).integers(0, levels, targets.shape).astype(np.float32)
    counted = [t for t in range(14) if 3 <= targets[:, t].sum() < len(targets)]
    expected = np.mean([roc_auc_score(targets[:, t], scores[:, t]) for t in counted])
    got = metrics_of(scores, targets)
    assert got["macro_auc"] == pytest.approx(expected, abs=1e-12)
    assert got["tags_counted"] == len(counted) < 14


def test_map_and_recall_without_ties_are_scikit_learns_and_a_loop():
    targets = random_targets(3, tags=25)
    scores = np.random.default_rng(4).permuted(
        np.tile(np.arange(25.0, dtype=np.float32), (24, 1)), axis=1
    )
    got = metrics_of(scores, targets)
    precision = [average_precision_score(t, s) for t, s in zip(targets, scores, strict=True)]
    assert got["map"] == pytest.approx(np.mean(precision), abs=1e-12)
    recall = [t[np.argsort(-s)[:10]].sum() / t.sum() for t, s in zip(targets, scores, strict=True)]
    assert got["recall_at_10"] == pytest.approx(np.mean(recall), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e6])
def test_constant_scores_give_chance_and_no_more(value):
    targets = random_targets(6)
    sets, _ = retrieval.distinct_sets(targets)
    got = metrics_of(
        np.full(targets.shape, value), targets, np.full((len(targets), len(sets)), value)
    )
    assert got == pytest.approx(retrieval.chance(targets), abs=1e-12)


def test_perfect_scores_give_one_and_the_opposite_gives_little():
    targets = random_targets(7)
    sets, own_set = retrieval.distinct_sets(targets)
    set_scores = np.eye(len(sets))[own_set]
    best = metrics_of(targets.astype(np.float32), targets, set_scores)
    worst = metrics_of(-targets.astype(np.float32), targets, -set_scores)
    assert [best[m] for m in MEASURES] == pytest.approx([1, 1, 1, 1], abs=1e-12)
    assert worst["macro_auc"] == 0.0
    assert worst["mrr"] == pytest.approx(1 / len(sets), abs=1e-12)


def test_the_order_of_sounds_and_of_tags_does_not_matter():
    targets, generator = random_targets(8), np.random.default_rng(9)
    sounds, tags = targets.shape
    sets, own_set = retrieval.distinct_sets(targets)
    tag_scores = generator.integers(0, 6, targets.shape).astype(np.float32)
    set_scores = generator.integers(0, 6, (sounds, len(sets))).astype(np.float32)
    before = retrieval.retrieval_metrics(tag_scores, set_scores, targets, own_set)
    order, columns = generator.permutation(sounds), generator.permutation(tags)
    after = retrieval.retrieval_metrics(
        tag_scores[order][:, columns],
        set_scores[order],
        targets[order][:, columns],
        own_set[order],
    )
    assert after == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize(
    ("sounds_of_tag", "minimum", "counted"),
    [(2, 3, 1), (3, 3, 2), (4, 3, 2), (5, 3, 2), (6, 3, 1), (2, 2, 2), (4, 5, 0)],
)
def test_a_tag_counts_from_minimum_sounds_on_and_not_when_all_have_it(
    sounds_of_tag, minimum, counted
):
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


def test_chance_is_the_mean_of_random_rankings():
    targets, generator = random_targets(10, sounds=20, tags=13), np.random.default_rng(11)
    sets, own_set = retrieval.distinct_sets(targets)
    got = np.array(
        [
            [
                retrieval.retrieval_metrics(
                    generator.random(targets.shape),
                    generator.random((len(targets), len(sets))),
                    targets,
                    own_set,
                )[measure]
                for measure in MEASURES
            ]
            for _ in range(100)
        ]
    )
    error = got.std(axis=0, ddof=1) / np.sqrt(len(got))
    expected = np.array([retrieval.chance(targets)[measure] for measure in MEASURES])
    assert np.all(error < 0.01)
    assert np.all(np.abs(got.mean(axis=0) - expected) < 4 * error)


def test_chance_worked_out_by_hand():
    # Sets {0}, {1}, {0, 1}: H_3 / 3. Two tags: E[AP] is 3/4 for one tag and 1 for both.
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [1, 1]], bool)
    got = retrieval.chance(targets)
    assert got["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3, abs=1e-12)
    assert got["map"] == pytest.approx((4 * 0.75 + 1) / 5, abs=1e-12)
    assert got["recall_at_10"] == 1.0
    wide = np.zeros((4, 40), bool)
    wide[:3, 0] = wide[3, 1] = True
    assert retrieval.chance(wide)["recall_at_10"] == 0.25


def test_popularity_ranks_single_tags_by_their_frequency():
    targets = np.array([[1, 0, 0]] * 3 + [[1, 1, 0], [0, 1, 1], [0, 0, 1]], np.uint8)
    got = retrieval.popularity(np.array([0.5, 0.2, 0.0]), targets, train_sounds=10)
    assert got["macro_auc"] == 0.5
    # Tags come as 0, 1, 2 for every sound.
    precision = [1, 1, 1, 1, (1 / 2 + 2 / 3) / 2, 1 / 3]
    assert got["map"] == pytest.approx(np.mean(precision), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_popularity_ranks_sets_by_their_smoothed_likelihood(seed):
    targets = random_targets(seed, sounds=30, tags=8)
    frequency = np.random.default_rng(seed).integers(0, 5, 8) / 4  # of 4 sounds; 0 and 1 occur
    sets, own_set = retrieval.distinct_sets(targets)
    smoothed = [(4 * p + 0.5) / 5 for p in frequency]
    likelihood = np.array(
        [
            sum(np.log(p if has else 1 - p) for p, has in zip(smoothed, row, strict=True))
            for row in sets
        ]
    )
    expected = []
    for own in own_set:
        above = np.sum(likelihood > likelihood[own] + 1e-9)
        not_below = np.sum(likelihood > likelihood[own] - 1e-9)
        expected.append(np.mean(1 / np.arange(above + 1, not_below + 1)))
    got = retrieval.popularity(frequency, targets, train_sounds=4)
    assert got["mrr"] == pytest.approx(np.mean(expected), abs=1e-9)


@pytest.mark.parametrize(
    ("frequency", "sounds"),
    [([0.5, 1.2], 10), ([-0.1, 0.5], 10), ([np.nan, 0.5], 10), ([0.5, 0.5], 0)],
)
def test_popularity_refuses_what_is_no_frequency(frequency, sounds):
    targets = np.array([[1, 0]] * 3 + [[0, 1]] * 3, np.uint8)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        retrieval.popularity(np.array(frequency), targets, train_sounds=sounds)


def test_cosine_is_the_loops_and_zero_for_zero_vectors():
    generator = np.random.default_rng(12)
    a = generator.normal(size=(5, 7)).astype(np.float32)
    b = generator.normal(size=(4, 7)).astype(np.float32)
    a[2] = 0
    b[1] = 0
    got = cosine(a, b)
    for i, j in itertools.product(range(5), range(4)):
        product = sum(float(x) * float(y) for x, y in zip(a[i], b[j], strict=True))
        lengths = np.linalg.norm(a[i].astype(float)) * np.linalg.norm(b[j].astype(float))
        assert got[i, j] == pytest.approx(product / lengths if lengths else 0.0, abs=1e-11)
    assert np.all(got[2] == 0) and np.all(got[:, 1] == 0)


def test_cosine_survives_any_scale_and_stays_within_one():
    row = np.random.default_rng(13).normal(size=(1, 33))
    scaled = np.concatenate([row, row * 1e-300, row * 1e300, -row])
    assert cosine(scaled, row).ravel().tolist() == [1.0, 1.0, 1.0, -1.0]


def test_cosine_of_a_collapsed_encoder_ties_exactly():
    generator = np.random.default_rng(14)
    sounds = np.tile(generator.normal(size=(1, 1152)).astype(np.float32), (67, 1))
    tags = generator.normal(size=(31, 1152)).astype(np.float32)
    assert np.all(cosine(sounds, tags) == cosine(sounds[:1], tags))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["tag_scores", "set_scores"])
def test_a_score_that_is_not_finite_is_named(which, broken):
    targets = random_targets(15)
    sets, own_set = retrieval.distinct_sets(targets)
    scores = {
        "tag_scores": np.zeros(targets.shape),
        "set_scores": np.zeros((len(targets), len(sets))),
    }
    scores[which][3, 2] = broken
    with pytest.raises(ValueError, match=rf"{which} are NaN or infinite, the first at \(3, 2\)"):
        retrieval.retrieval_metrics(**scores, targets=targets, own_set=own_set)


def test_a_sound_without_tags_is_named():
    targets = random_targets(16)
    targets[5] = 0
    targets[9] = 0
    for function in (retrieval.chance, lambda t: metrics_of(np.zeros(t.shape), t)):
        with pytest.raises(ValueError, match="2 sounds have no tag, the first is row 5"):
            function(targets)


@pytest.fixture
def without_shape_checks(monkeypatch):
    """What a user meets: jaxtyping is on in the tests alone and would refuse the shapes first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("tag_shape", "set_shape", "own", "message"),
    [
        ((5, 3), (6, 2), 6, r"tag_scores \(5, 3\) do not fit targets \(6, 3\)"),
        ((6, 4), (6, 2), 6, r"tag_scores \(6, 4\) do not fit targets \(6, 3\)"),
        ((6, 3), (5, 2), 6, r"set_scores \(5, 2\) and own_set \(6,\) do not fit 6 sounds"),
        ((6, 3), (6,), 6, r"set_scores \(6,\) and own_set \(6,\) do not fit 6 sounds"),
        ((6, 3), (6, 2), 5, r"set_scores \(6, 2\) and own_set \(5,\) do not fit 6 sounds"),
        ((6, 3), (6, 1), 6, r"own_set runs from 0 to 1, set_scores has columns 0 to 0"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_shapes_that_do_not_fit_are_both_named(tag_shape, set_shape, own, message):
    targets = np.array([[1, 0, 0]] * 3 + [[0, 1, 1]] * 3, np.uint8)
    own_set = np.array([0, 0, 0, 1, 1, 1])[:own]
    with pytest.raises(ValueError, match=message):
        retrieval.retrieval_metrics(np.zeros(tag_shape), np.zeros(set_shape), targets, own_set)


@pytest.mark.usefixtures("without_shape_checks")
def test_other_shapes_that_do_not_fit():
    targets = np.array([[1, 0, 0]] * 3 + [[0, 1, 1]] * 3, np.uint8)
    with pytest.raises(ValueError, match=r"2 frequencies but targets \(6, 3\)"):
        retrieval.popularity(np.array([0.5, 0.5]), targets, train_sounds=10)
    with pytest.raises(ValueError, match=r"at least one of each: \(0, 3\)"):
        retrieval.chance(targets[:0])
    patches = np.zeros((5, 96, 96), np.float32)
    with pytest.raises(ValueError, match="5 patches but targets for 6 sounds"):
        retrieval.evaluate_retrieval(FakeAligned(targets), patches, targets)


class FakeAligned:
    """Carries a sound's row of targets in its patch; knows tags and sounds as well as told."""

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
    """Logits that stand in the patches."""

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
def test_an_aligned_model_that_knows_gets_one_and_a_dead_one_chance(case):
    targets = random_targets(17)
    patches = patches_with(targets)
    knows = retrieval.evaluate_retrieval(FakeAligned(targets, case), patches, targets)
    assert [knows[m] for m in MEASURES] == pytest.approx([1, 1, 1, 1], abs=1e-12)
    dead = retrieval.evaluate_retrieval(FakeAligned(targets, case, scale=0.0), patches, targets)
    assert dead == pytest.approx(retrieval.chance(targets), abs=1e-12)


@pytest.mark.parametrize("sounds", [127, 128, 129, 300])
def test_a_collapsed_encoder_gets_chance_in_every_chunk(sounds):
    """Of every sound and of every tag set it has the same vector, with cosine neither 0 nor 1."""
    targets, generator = random_targets(28, sounds), np.random.default_rng(29)
    model = FakeAligned(targets)
    audio, tag = generator.normal(size=(2, 1, 1152)).astype(np.float32) + np.float32(1)
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


@pytest.mark.parametrize("levels", [1, 3, 1000], ids=["all tied", "many ties", "hardly a tie"])
@pytest.mark.parametrize("chunk", [1, 23, 24, 25])
def test_chunks_change_nothing(chunk, levels, monkeypatch):
    """24 sounds, in one chunk or several; 14 tags and about 20 sets."""
    monkeypatch.setattr(retrieval, "_CHUNK_ROWS", chunk)
    targets, generator = random_targets(21), np.random.default_rng(22)
    sets, own_set = retrieval.distinct_sets(targets)
    tag_scores = generator.integers(0, levels, targets.shape).astype(np.float32)
    set_scores = generator.integers(0, levels, (24, len(sets))).astype(np.float64)
    got = retrieval.retrieval_metrics(tag_scores, set_scores, targets, own_set)
    expected = one_at_a_time(tag_scores, set_scores, targets, own_set)
    assert {m: got[m] for m in MEASURES} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("sounds", "tags"), [(1, 1), (1, 5), (2, 1), (4, 2)])
def test_the_smallest_splits(sounds, tags):
    """One sound or one tag; a tag on too few sounds for an AUC."""
    targets = np.ones((sounds, tags), np.uint8)
    targets[1:, 1:] = 0
    sets, own_set = retrieval.distinct_sets(targets)
    generator = np.random.default_rng(23)
    tag_scores, set_scores = generator.random((sounds, tags)), generator.random((sounds, len(sets)))
    got = retrieval.retrieval_metrics(tag_scores, set_scores, targets, own_set)
    expected = one_at_a_time(tag_scores, set_scores, targets, own_set)
    assert expected["macro_auc"] is None
    assert {m: got[m] for m in MEASURES} == pytest.approx(expected, abs=1e-12)


def test_distinct_sets_are_the_rows_in_lexical_order():
    targets = random_targets(24, sounds=40, tags=9)
    sets, own_set = retrieval.distinct_sets(targets)
    assert sets.tolist() == sorted(map(list, {tuple(row) for row in targets.tolist()}))
    np.testing.assert_array_equal(sets[own_set], targets)


class InProcesses:
    """Runs a function once a process, in threads that meet at each gather."""

    def __init__(self, count):
        self.count, self.barrier, self.rows = count, threading.Barrier(count), [None] * count

    def run(self, function):
        def all_gather(index, rows):
            self.barrier.wait(timeout=60)  # all have read what was gathered before
            self.rows[index] = rows
            self.barrier.wait(timeout=60)
            return np.concatenate(self.rows)

        shards = [
            WorkShard(index, self.count, functools.partial(all_gather, index))
            for index in range(self.count)
        ]
        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(function, shards))


@pytest.mark.parametrize("case", ["ae_c", "cnn"])
@pytest.mark.parametrize(("sounds", "processes"), [(24, 2), (24, 3), (25, 4), (2, 3)])
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
    found = InProcesses(processes).run(
        lambda shard: retrieval.evaluate_retrieval(model, patches[shard.of(sounds)], targets, shard)
    )
    assert sum(ranked) == sounds
    assert max(ranked) == -(-sounds // processes)
    assert all(one == found[0] for one in found)
    assert found[0] == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(("items", "count"), [(0, 3), (1, 3), (2, 3), (3, 3), (4, 3), (18_990, 7)])
def test_shares_cover_everything_once_and_are_even(items, count):
    shares = [range(items)[WorkShard(index, count).of(items)] for index in range(count)]
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_must_bring_the_patches_of_its_own_sounds():
    targets = random_targets(27)
    with pytest.raises(ValueError, match=r"24 patches but targets for 24 sounds, .* has 12"):
        retrieval.evaluate_retrieval(
            FakeAligned(targets), patches_with(targets), targets, WorkShard(0, 2)
        )


def test_an_unknown_case_is_named():
    targets = random_targets(20)
    with pytest.raises(ValueError, match="unknown case 'vae'; retrieval knows ae_c, e_c and cnn"):
        retrieval.evaluate_retrieval(FakeAligned(targets, "vae"), patches_with(targets), targets)
