"""The index of a folder, with the real database: what it finds, and how it follows the folder."""

import dataclasses
import fcntl
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import soundfile

from coala_jax import storage
from coala_jax.embedding import embedder as embedder_module
from coala_jax.embedding import index_folder, index_store, index_update
from coala_jax.embedding.embedder import Embedder, load
from coala_jax.embedding.index import Index
from coala_jax.embedding.index_ranking import Like
from coala_jax.models.bank import make_bank
from tests.synthetic import MODEL_TAGS, tiny_model

pytestmark = pytest.mark.integration  # compiles a whole network

RATE_HZ, SOUNDS = 22_000, 18
KINDS = ("cosine", "vote", "cnn")


def sound(seed: int, seconds: float = 0.3) -> np.ndarray:
    """A tone with noise, both of which differ from seed to seed."""
    rng, time = np.random.default_rng(seed), np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = np.sin(2 * np.pi * 100 * 1.2**seed * time) * np.exp(-time * rng.uniform(0, 9))
    return (0.3 * tone + rng.uniform(0.001, 0.1) * rng.uniform(-1, 1, time.size)).astype(np.float32)


def write(path: Path, seed: int, seconds: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # soundfile takes no name that is not UTF-8
        soundfile.write(file, sound(seed, seconds), RATE_HZ, format="WAV")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A folder of a model for each way to match sounds with tags."""
    projected = np.random.default_rng(0).normal(size=(20, 18)).astype(np.float32)
    tags = (np.random.default_rng(1).random((20, MODEL_TAGS)) < 0.4).astype(np.uint8)
    bank = make_bank(projected, tags, 0.3, 100)
    cosine = dataclasses.replace(bank, best_for_search="cosine")
    made = {
        "cosine": tiny_model("e_c", bank=cosine),
        "vote": tiny_model("ae_c", bank=bank, pooling="layers"),
        "cnn": tiny_model("cnn"),
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, model in made.items():
        for stats in model.variables["batch_stats"]["audio_encoder"].values():
            stats["var"] = np.full(2, 0.01, np.float32)  # so that sounds make a difference
        model.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="module")
def loaded(models) -> dict[str, Embedder]:
    return {name: load(folder) for name, folder in models.items()}


@pytest.fixture(scope="module")
def made(models, loaded, tmp_path_factory) -> dict[str, Index]:
    """An index of each model, of the same sounds of 0.2 to 1.9 s."""
    root = tmp_path_factory.mktemp("sounds")
    for seed in range(SOUNDS):
        write(root / f"{seed}.wav", seed, 0.2 + 0.1 * seed)
    found = {}
    for name in KINDS:
        out = root.parent / f"{name}.index"
        found[name], changes = Index.update(root, loaded[name], models[name], out)
        assert changes == (SOUNDS, 0, 0, 0, 0, {}, 0)
    return found


def files(index: Index) -> list[Path]:
    return [index.sounds / f"{seed}.wav" for seed in range(SOUNDS)]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def standard(rows, of=None):
    of = rows if of is None else of
    spread = of.std(axis=0)
    return unit((rows - of.mean(axis=0)) / np.maximum(spread, 0.01 * spread.mean()))


def tag_scores(kind: str, model: Embedder, paths) -> np.ndarray:
    """[sound, tag]: cosines, shares of votes or probabilities, as NumPy has them."""
    if kind == "cosine":
        return unit(model.project(paths)) @ unit(model.embed_tags(model.vocabulary.tags)).T
    if kind == "cnn":  # whose float32 probabilities would round what is far from 0 and 1
        logits = np.stack([found.matched for found in model.describe_each(paths)])
        np.testing.assert_allclose(scipy.special.expit(logits), model.tag_scores(paths), rtol=1e-4)
        return scipy.special.expit(logits.astype(np.float64))
    return model.tag_scores(paths)


def assert_found(hits, paths, scores) -> None:
    order = np.argsort(-scores, kind="stable")
    assert scores.std() > 1e-4 * np.abs(scores).max()  # or the order would be chance
    assert [hit.path for hit in hits] == [paths[row].name for row in order]
    np.testing.assert_allclose([hit.score for hit in hits], scores[order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_by_tags_is_what_numpy_finds(made, loaded, kind):
    index, paths = made[kind], files(made[kind])
    scores = tag_scores(kind, loaded[kind], paths).astype(np.float64)
    assert index.settings.match == {"cnn": "logits"}.get(kind, kind)
    assert_found(index.search("tag1"), paths, scores[:, 1])
    if kind == "cosine":
        wanted = (scores[:, 1] + scores[:, 2] - scores[:, 4]) / 3
    else:
        wanted = scores[:, 1] * scores[:, 2] * (1 - scores[:, 4])
    assert_found(index.search("tag1, tag2,-tag4"), paths, wanted)
    assert index.search("tag1, tag2,-tag4", top=3) == index.search("tag2,tag1, - tag4")[:3]


def test_logits_are_kept_of_the_cnn_and_projections_of_the_others(made, loaded):
    columns = {kind: set(made[kind]._store.schema.names) for kind in KINDS}
    own = {"logits", "votes", "projection"}
    assert columns["cnn"] & own == {"logits"}
    assert columns["vote"] & own == {"votes", "projection"}
    assert columns["cosine"] & own == {"projection"}
    row = made["cnn"]._row_of(Path("3.wav"))
    rows = made["cnn"]._store.take([row], made["cnn"]._store.schema.names)
    logits = index_store.vectors_of(rows, "logits")
    scores = loaded["cnn"].tag_scores([made["cnn"].sounds / "3.wav"])
    np.testing.assert_allclose(scipy.special.expit(logits), scores, rtol=1e-5)
    assert rows["model"].to_pylist() == [loaded["cnn"].digest]
    assert rows["times"].to_pylist() == [[0.0]] and rows["tags"].to_pylist() == [[]]


@pytest.mark.parametrize("kind", ["cosine", "vote"])
def test_a_search_by_a_sound_goes_by_standardised_embeddings(made, loaded, kind):
    index, paths = made[kind], files(made[kind])
    rows = standard(loaded[kind].embed(paths, policy="masked").astype(np.float64))
    others = [row for row in range(SOUNDS) if row != 5]
    hits = index.similar(paths[5])
    assert_found(hits, [paths[row] for row in others], rows[others] @ rows[5])
    assert index.similar("5.wav") == hits  # relative to the folder of sounds
    assert [hit.seconds for hit in hits if hit.path == "7.wav"] == [pytest.approx(0.9)]


def test_a_sound_that_is_not_in_the_index_goes_through_its_model(
    made, loaded, tmp_path, monkeypatch
):
    index, copy, other = made["vote"], tmp_path / "copy.wav", tmp_path / "other.wav"
    shutil.copy(index.sounds / "5.wav", copy)
    write(other, 5, 0.75)
    model = loaded["vote"]
    known, new = (
        model.embed(some, policy="masked").astype(np.float64) for some in (files(index), [other])
    )
    assert_found(index.similar(other), files(index), standard(known) @ standard(new, known)[0])
    monkeypatch.setattr(embedder_module, "load", None)  # which the content of a sound need not
    assert index.similar(copy) == index.similar("5.wav")


def test_both_go_by_the_places_in_both_orders(made):
    index = made["cosine"]
    by_tag, by_sound = index.search("tag2"), index.similar("5.wav")
    ranks = [{hit.path: rank for rank, hit in enumerate(hits)} for hits in (by_tag, by_sound)]
    own = ranks[0].pop("5.wav")  # which is not compared with itself
    ranks[0] = {path: rank - (rank > own) for path, rank in ranks[0].items()}
    wanted = {path: sum(61 / (61 + rank[path]) / 2 for rank in ranks) for path in ranks[1]}
    hits = index.search("tag2", like="5.wav")
    assert {hit.path: hit.score for hit in hits} == pytest.approx(wanted)
    assert [hit.score for hit in hits] == sorted(wanted.values(), reverse=True)
    assert index.similar("5.wav", words="tag2", top=4) == hits[:4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_of_seconds_leaves_out_what_is_outside(made, kind):
    index = made[kind]
    everything = index.search("tag1")
    inside = [hit for hit in everything if 0.45 <= hit.seconds <= 1.25]
    assert 0 < len(inside) < len(everything)
    assert index.search("tag1", seconds=(0.45, 1.25)) == inside
    assert index.search("tag1", seconds=(0.0, float("inf"))) == everything
    assert index.search("tag1", seconds=(50.0, 60.0)) == []
    assert all(hit.seconds >= 1 for hit in index.search("tag1", like="1.wav", seconds=(1.0, 9.0)))
    with pytest.raises(ValueError, match=r"range of seconds 3 to 2 is empty"):
        index.search("tag1", seconds=(3.0, 2.0))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_in_memory_changes_no_result(made, kind, monkeypatch):
    kept = Index(made[kind].folder)
    assert kept.keep() == []
    for words in ("tag1", "tag1, tag2,-tag4", "-tag3"):
        for limits in ({}, {"seconds": (0.45, 1.25)}, {"top": 4}, {"top": 5, "like": "5.wav"}):
            hits, wanted = (one.search(words, **limits) for one in (kept, made[kind]))
            assert [hit.path for hit in hits] == [hit.path for hit in wanted]
            scores = [hit.score for hit in wanted]
            np.testing.assert_allclose([hit.score for hit in hits], scores, rtol=1e-4, atol=1e-6)
    for name in ("scan", "nearest"):  # which are not asked any more
        monkeypatch.setattr(kept._store, name, None)
    monkeypatch.setattr(kept._store, "take", made[kind]._store.take)
    assert [hit.path for hit in kept.search("tag1")] == [h.path for h in made[kind].search("tag1")]
    like = made[kind].like_row(5)
    for limits in ({}, {"seconds": (0.45, 1.25)}, {"top": 4}):
        (ids, scores), wanted = (one.rank(None, like, **limits) for one in (kept, made[kind]))
        assert ids.tolist() == wanted[0].tolist()
        np.testing.assert_allclose(scores, wanted[1], rtol=1e-4, atol=1e-6)
    assert not len(kept.rank(None, Like(None, np.zeros_like(like.vector)))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_too_large_is_not_kept(made, kind, monkeypatch):
    monkeypatch.setattr("coala_jax.embedding.index_ranking._KEPT_BYTES", 100)
    index = Index(made[kind].folder)
    assert index.keep() == [index.settings.match_column, "embedding"]
    assert index.search("tag1") == made[kind].search("tag1")


def test_a_word_that_is_no_tag_gets_the_nearest_with_a_warning(made, caplog):
    caplog.set_level("WARNING")
    index = made["vote"]
    assert index.search("tagg1, -tag0") == index.search("tag1,-tag0")
    assert "'tagg1' is not among the model's 6 tags; searched for tag1 instead" in caplog.text
    with pytest.raises(ValueError, match=r"'zebra' is not among .* Fix: use others, such as tag0"):
        index.search("zebra")
    with pytest.raises(ValueError, match=r"Fix: give words, a sound or both"):
        index.find(None, None)


@pytest.fixture
def follow(loaded, models, tmp_path):
    """Indexes the folder `sounds`; returns the index, what changed, and which files were read."""

    def run(tags=None, model="cosine", out="index"):
        read, embedder = [], loaded[model]

        class Spy:
            def __getattr__(self, name):
                return getattr(embedder, name)

            def describe_each(self, sounds, policy, workers):
                read.extend(Path(sound).relative_to(tmp_path / "sounds") for sound in sounds)
                return embedder.describe_each(sounds, policy=policy, workers=workers)

        sounds = tmp_path / "sounds"
        index, changes = Index.update(sounds, Spy(), models[model], tmp_path / out, tags)
        return index, changes, sorted(map(str, read))

    return run


def rows(index: Index) -> dict[str, tuple]:
    """All of an index but ids, by path."""
    found = {}
    for batch in index._store.scan(index._store.schema.names):
        values = batch.to_pydict()
        del values["id"], values["path"], values["raw_path"]
        for path, row in zip(
            index_store.paths_of(batch), zip(*values.values(), strict=True), strict=True
        ):
            assert path not in found
            found[path] = row
    return found


def test_an_index_follows_its_folder(follow, tmp_path):
    root = tmp_path / "sounds"
    for seed in range(6):
        write(root / f"{seed}.wav", seed)
    first = follow({"0.wav": ("tag1",), "1.wav": ("tag2",)})[0]
    assert follow()[1:] == ((0, 0, 0, 0, 6, {}, 0), [])
    (root / "deep").mkdir()
    (root / "0.wav").rename(root / "deep" / "moved.wav")
    write(root / "1.wav", 11)
    os.utime(root / "2.wav", ns=(5, 5))
    shutil.copy(root / "3.wav", root / "copy.wav")
    (root / "4.wav").unlink()
    write(root / "new.wav", 12)
    index, changes, read = follow()
    assert changes == (1, 1, 3, 1, 2, {}, 0)
    assert read == ["1.wav", "new.wav"]
    assert follow()[1:] == ((0, 0, 0, 0, 7, {}, 0), [])
    found, tags = rows(index), index._store.schema.get_field_index("tags") - 3
    assert [found[path][tags] for path in ("deep/moved.wav", "1.wav", "2.wav")] == [
        ["tag1"],
        ["tag2"],
        [],
    ]
    given = {"deep/moved.wav": ("tag1",), "1.wav": ("tag2",)}
    assert rows(follow(given, out="anew")[0]) == found
    assert first.settings.table == index.settings.table  # so few are not standardised
    changes = follow({"5.wav": ("tag3", "tag4")})[1]
    assert changes == (0, 0, 0, 0, 7, {}, 0)  # no file has changed
    assert {
        path: row[tags] for path, row in rows(Index(tmp_path / "index")).items() if row[tags]
    } == {"5.wav": ["tag3", "tag4"]}


def test_a_file_that_can_no_longer_be_read_leaves_and_is_listed_once(follow, tmp_path):
    root = tmp_path / "sounds"
    for seed in range(3):
        write(root / f"{seed}.wav", seed)
    (root / "bad.wav").write_bytes(b"no sound")
    _, changes, read = follow()
    assert list(changes.failures) == ["bad.wav"] and len(read) == 4
    (root / "1.wav").write_bytes(b"spoilt")
    _, changes, read = follow()
    assert (changes.removed, list(changes.failures), changes.skipped) == (1, ["1.wav"], 1)
    assert read == ["1.wav"]
    listed = (tmp_path / "index" / "failures.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in listed] == ["path", "1.wav", "bad.wav"]
    assert follow()[1:] == ((0, 0, 0, 0, 2, {}, 2), [])
    for name in ("1.wav", "bad.wav"):
        write(root / name, 1)
    assert follow()[1][:2] == (2, 0)
    assert not (tmp_path / "index" / "failures.csv").exists()


def test_sounds_where_nobody_can_look_stay(follow, tmp_path, monkeypatch):
    root = tmp_path / "sounds"
    write(root / "a.wav", 0)
    write(root / "deep" / "b.wav", 1)
    follow()
    (root / "deep").rename(tmp_path / "away")
    found = index_update.find_sounds(root)
    hidden = found._replace(errors={"deep": "Permission denied"})
    with monkeypatch.context() as patch:
        patch.setattr(index_update, "find_sounds", lambda root, any_name: hidden)
        index, changes, _ = follow()
    assert changes.removed == 0 and changes.failures == {"deep": "Permission denied"}
    assert sorted(rows(index)) == ["a.wav", "deep/b.wav"]
    assert follow()[1].removed == 1


def test_hostile_names_are_names(follow, tmp_path):
    root = tmp_path / "sounds"
    names = ["a'; DROP TABLE sounds; --.wav", "<b>&\n\x1b[31m.wav", os.fsdecode(b"caf\xe9.wav")]
    for seed, name in enumerate(names):
        write(root / name, seed)
    write(root / "caf\\xe9.wav", 7)  # as the last is shown
    (root / os.fsdecode(b"b\xe4d.wav")).write_bytes(b"")
    index, changes, _ = follow()
    assert list(changes.failures) == [os.fsdecode(b"b\xe4d.wav")]
    assert sorted(rows(index)) == sorted([*names, "caf\\xe9.wav"])
    assert sorted(hit.path for hit in index.search("tag1")) == sorted([*names, "caf\\xe9.wav"])
    assert {hit.path for hit in index.similar(names[2])} == {*names[:2], "caf\\xe9.wav"}
    assert follow()[1] == (0, 0, 0, 0, 4, {}, 1)


def test_what_a_killed_beginning_left_is_swept_and_not_taken_for_something_else(tmp_path):
    """Of a file that was being written, the name is its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "sounds-0.npz.0123abcd.tmp").touch()
    (folder / "tags.npz").touch()
    index_folder.check_free(folder)
    with index_folder.locked(folder):
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "tags.npz"]
    (folder / "mine.tmp").touch()
    with pytest.raises(ValueError, match="something else"):
        index_folder.check_free(folder)


def test_a_killed_run_keeps_what_it_wrote(follow, tmp_path, monkeypatch):
    root = tmp_path / "sounds"
    for seed in range(5):
        write(root / f"{seed}.wav", seed)
    whole = rows(follow(out="whole")[0])
    monkeypatch.setattr(index_update, "_SAVE_SECONDS", 0)
    original, written = index_update.Writer.add, []

    def add(writer, row, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(row["path"])
        original(writer, row, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(index_update.Writer, "add", add)
        with pytest.raises(KeyboardInterrupt):
            follow()
    assert sorted(rows(Index(tmp_path / "index"))) == written
    index, changes, read = follow()
    assert (changes.added, changes.unchanged) == (3, 2) and len(read) == 3
    assert rows(index) == whole


def test_a_kill_before_a_row_is_deleted_leaves_no_sound_twice(follow, tmp_path, monkeypatch):
    root = tmp_path / "sounds"
    for seed in range(3):
        write(root / f"{seed}.wav", seed)
    follow()
    write(root / "1.wav", 8)
    with monkeypatch.context() as patch:
        patch.setattr(index_store.Store, "delete", lambda store, ids: None)
        follow()
    index, changes, read = follow()
    assert (len(index), changes.unchanged, read) == (3, 3, [])
    assert rows(index) == rows(follow(out="anew")[0])


def test_a_kill_before_the_new_scale_counts_loses_nothing(follow, tmp_path, monkeypatch):
    root = tmp_path / "sounds"
    for seed in range(SOUNDS):
        write(root / f"{seed}.wav", seed)
    wanted = rows(follow(out="whole")[0])
    from coala_jax.embedding import index_scale

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(index_scale, "write_scale", killed)
        with pytest.raises(KeyboardInterrupt):
            follow()
    folder = tmp_path / "index"
    assert Index(folder).settings.scaled_by == 0 and (folder / "sounds-1.lance").exists()
    index, _, read = follow()
    assert read == [] and rows(index) == wanted
    assert index.settings.scaled_by == SOUNDS
    assert [path.name for path in folder.glob("*.lance")] == ["sounds-1.lance"]


def test_the_scale_is_made_again_when_the_sounds_are_twice_as_many(follow, loaded, tmp_path):
    root = tmp_path / "sounds"
    paths = [root / f"{seed:02}.wav" for seed in range(2 * SOUNDS)]
    for seed, path in enumerate(paths[: 2 * SOUNDS - 1]):
        write(path, seed % 23, 0.2 + 0.01 * seed)
        if seed == SOUNDS - 1:
            follow()
    assert follow()[0].settings.scaled_by == SOUNDS
    write(paths[-1], 3, 0.5)
    index, _, read = follow()
    assert (index.settings.table, index.settings.scaled_by, len(read)) == ("sounds-2", 36, 1)
    expected = standard(loaded["cosine"].embed(paths, policy="masked").astype(np.float64))
    assert_found(index.similar("04.wav", top=99), *_others(paths, expected, 4))


def _others(paths, vectors, own):
    kept = [row for row in range(len(paths)) if row != own]
    return [paths[row] for row in kept], vectors[kept] @ vectors[own]


def test_another_model_or_folder_is_refused_by_name(follow, models, tmp_path):
    root = tmp_path / "sounds"
    write(root / "a.wav", 0)
    follow()
    with pytest.raises(
        ValueError, match=r"holds vectors of the model .*cosine.*\(digest \w{12}, po"
    ):
        follow(model="cnn")
    write(tmp_path / "others" / "b.wav", 1)
    with pytest.raises(
        ValueError, match=r"follows .*sounds, not .*others\. Fix: name another --out"
    ):
        Index.build(tmp_path / "others", models["cosine"], tmp_path / "index")
    root.rename(tmp_path / "elsewhere")  # the folder itself has moved
    index = Index.build(tmp_path / "elsewhere", models["cosine"], tmp_path / "index")
    assert (len(index), index.sounds) == (1, tmp_path / "elsewhere")


def test_a_model_that_has_moved_is_asked_for(follow, models, tmp_path):
    model, root = tmp_path / "model", tmp_path / "sounds"
    shutil.copytree(models["cosine"], model)
    write(root / "a.wav", 0)
    write(tmp_path / "b.wav", 1)
    index = Index.build(root, model, tmp_path / "index")
    model.rename(tmp_path / "moved")
    with pytest.raises(
        ValueError, match=r"its model is no longer in .*model, .*Fix: name .* --model"
    ):
        index.similar(tmp_path / "b.wav")
    assert len(index.similar(tmp_path / "b.wav", model=tmp_path / "moved")) == 1
    with pytest.raises(ValueError, match=r"holds vectors of the model"):
        index.similar(tmp_path / "b.wav", model=models["vote"])
    with pytest.raises(ValueError, match=r"gone.wav"):
        index.similar(tmp_path / "gone.wav", model=tmp_path / "moved")


def test_an_index_by_the_built_in_model_survives_that_it_moves(models, tmp_path, monkeypatch):
    """As it does when the package is installed elsewhere; another model in its place is refused."""
    root, out = tmp_path / "sounds", tmp_path / "index"
    write(root / "a.wav", 0)
    write(tmp_path / "b.wav", 1)
    for name, kind in (("here", "cosine"), ("there", "cosine"), ("newer", "vote")):
        shutil.copytree(models[kind], tmp_path / name)

    def installed(name: str) -> None:
        monkeypatch.setattr("coala_jax.models.default._FOLDER", tmp_path / name)

    installed("here")
    Index.build(root, tmp_path / "here" / ".." / "here", out)  # named by its path
    assert "here" not in (out / "index.json").read_text()
    shutil.rmtree(tmp_path / "here")
    installed("there")
    assert len(Index(out).similar(tmp_path / "b.wav")) == 1
    write(root / "c.wav", 2)
    index, changes = Index.update(root, load(), None, out)
    assert (changes.added, changes.unchanged) == (1, 1) and index.settings.model is None
    assert index.load_model().digest == index.settings.digest  # as coala serve loads it
    refused = (
        r"of the built-in model \(.*\), not of the one of this version .*Fix: install the vers"
    )
    installed("newer")
    for changed in (
        lambda: Index.build(root, None, out),
        lambda: Index.build(root, tmp_path / "newer", out),
        lambda: Index(out).similar(tmp_path / "b.wav"),
    ):
        with pytest.raises(ValueError, match=refused):
            changed()
    other = rf"not of the model {models['vote']} \(.*Fix: leave out --model"
    with pytest.raises(ValueError, match=other):
        Index.build(root, models["vote"], out)
    assert len(Index(out).similar(tmp_path / "b.wav", model=tmp_path / "there")) == 2


def test_an_index_by_a_named_model_asks_for_its_name(follow, models, tmp_path, monkeypatch):
    monkeypatch.setattr("coala_jax.models.default._FOLDER", models["vote"])
    write(tmp_path / "sounds" / "a.wav", 0)
    index = follow()[0]
    wanted = rf"not of the built-in model \(.*Fix: --model={index.settings.model}, or name"
    with pytest.raises(ValueError, match=wanted):
        Index.build(tmp_path / "sounds", None, tmp_path / "index")


def test_what_is_no_index_is_said_to_be_none(follow, tmp_path, monkeypatch):
    root, out = tmp_path / "sounds", tmp_path / "index"
    with pytest.raises(ValueError, match=r"no such folder"):
        follow()
    root.mkdir()
    with pytest.raises(ValueError, match=r"no sound in it, of 0 files"):
        follow()
    (root / "a.wav").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no sound can be read"):
        follow(out="all bad")
    write(root / "b.wav", 1)
    follow()
    with pytest.raises(ValueError, match=r"no index of sounds. Fix: make one with coala index"):
        Index(root)
    with pytest.raises(ValueError, match=r"holds something else than an index"):
        follow(out="sounds")
    with pytest.raises(ValueError, match=r"a file. Fix: name a folder"):
        follow(out="sounds/a.wav")
    settings, content = (out / "index.json").read_text(), storage.read_json(out / "index.json")
    for changed, said in (
        ({"format": 2}, "format 2; this version reads format 1"),
        ({"match": "x"}, "no settings of an index"),
    ):
        storage.write_record(out / "index.json", content | changed)
        with pytest.raises(ValueError, match=said):
            Index(out)
    for changed, said in (
        (settings.replace('"match": "cosine"', '"match": "vote"'), "its seal is not"),
        (settings[:-9], "not valid JSON"),
        ("[]", "no settings of an index"),
    ):
        (out / "index.json").write_text(changed)
        with pytest.raises(ValueError, match=said):
            Index(out)
    (out / "index.json").write_text(settings)
    shutil.rmtree(out / "sounds-0.lance")
    with pytest.raises(ValueError, match=r"sounds-0.lance/_versions/\d+.manifest: missing"):
        Index(out)
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ValueError, match=r"Fix: pip install 'coala_jax\[search\]'"):
        Index(out)


def test_an_index_of_before_there_were_checksums_is_read_with_a_warning(follow, tmp_path, caplog):
    caplog.set_level("WARNING")
    write(tmp_path / "sounds" / "a.wav", 1)
    whole = rows(follow()[0])
    assert not caplog.messages
    (tmp_path / "index" / "sounds-0.files.json").unlink()
    assert rows(Index(tmp_path / "index")) == whole
    assert "its rows have no checksums" in caplog.text
    caplog.clear()
    assert follow()[1].unchanged == 1
    assert rows(Index(tmp_path / "index")) == whole and not caplog.messages


def test_an_index_that_cannot_be_written_is_one_sentence(follow, tmp_path, monkeypatch):
    write(tmp_path / "sounds" / "a.wav", 1)
    index = follow()[0]
    with (tmp_path / "index" / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"another process is writing it. Fix: wait for it"):
            follow()

    class Refusing(type(tmp_path)):
        def open(self, *_):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(index_folder.storage, "path", Refusing)
    with pytest.raises(ValueError, match=r"cannot be written \(Permission denied\). Fix: name an"):
        follow()
    monkeypatch.undo()
    assert len(index.search("tag1")) == 1
    assert storage.path(tmp_path / "index").exists()


def test_an_index_has_a_public_name(made):
    import coala_jax

    assert coala_jax.Index is Index
    assert repr(made["vote"]).startswith(f"<Index of {SOUNDS} sounds in ")
