"""An index of the sounds of a folder, which is asked by tags, by a sound, or by both.

index = Index.build("sounds", None, "sounds.index")  # by the built-in model
index.search("kick, -snare", seconds=(0.5, 2))  # the best sounds, each with its score
index.similar("dog.wav")
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from absl import logging
from jaxtyping import Float32

from coala_jax import storage
from coala_jax.embedding import index_settings, index_store, index_words
from coala_jax.embedding.index_folder import check_free, locked, open_or_create
from coala_jax.embedding.index_ranking import Like, Range, Ranker, Ranking
from coala_jax.embedding.index_scale import rescale
from coala_jax.embedding.index_settings import shown
from coala_jax.embedding.index_store import Store

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder
    from coala_jax.embedding.index_map import Map
    from coala_jax.embedding.index_update import Changes, Tags


class Hit(NamedTuple):
    """A sound that was found.

    path: relative to `Index.sounds`, with `/`.
    score: higher is better. By tags: the share of the vote or the probability in [0, 1], of several
        tags their product, with what is missing to 1 for unwanted ones; or the mean cosine in
        [-1, 1], negated for unwanted ones; as the model matches. By a sound: the cosine. By both:
        by the places in both orders, 1 for the first in both.
    seconds: the length.
    tags: that were given, not predicted.
    """

    path: str
    score: float
    seconds: float
    tags: tuple[str, ...]


class Index:
    """The index in a folder, opened to be asked.

    Attributes:
        folder: of the index.
        sounds: the folder of sounds that it follows.
        settings: model, vocabulary, and how sounds are matched with tags.

    Raises:
        ValueError: the folder holds no index, a damaged one, or LanceDB is not installed.
    """

    def __init__(self, folder: storage.PathLike) -> None:
        self.folder = Path(folder)
        index_store.lancedb()  # or a folder that is there would be said to be damaged
        self.settings = index_settings.read_settings(self.folder)
        self._store = Store(self.folder, self.settings.table)
        if not self._store.has_checksums:
            logging.warning(
                "%s: its rows have no checksums, and damage to them may not be found. Fix: index "
                "the folder again, which adds them and takes no sound anew",
                shown(self.folder),
            )
        self._ranker = Ranker(self.folder, self.settings, self._store)
        self._vocabulary = self.settings.vocabulary

    def __repr__(self) -> str:
        return f"<Index of {len(self)} sounds in {shown(self.sounds)}; {self.settings.match}>"

    def __len__(self) -> int:
        return len(self._store)

    @property
    def sounds(self) -> Path:
        return Path(self.settings.sounds)

    @functools.cached_property
    def version(self) -> str:
        """A digest of the model and of the sounds that are in the index as it was opened."""
        rows = self.entries().select(["id", "sha256"])
        columns = [rows[name].to_pylist() for name in rows.schema.names]
        return storage.fingerprint([self.settings.digest, self.settings.table, *columns])

    def entries(self) -> pa.Table:
        """All rows but for their vectors, in the order of their ids."""
        columns = ["id", "path", "raw_path", "sha256", "seconds", "tags"]
        schema = pa.schema([self._store.schema.field(name) for name in columns])
        return pa.Table.from_batches(self._store.scan(columns), schema).sort_by("id")

    @classmethod
    def build(
        cls,
        sounds: storage.PathLike,
        model: storage.PathLike | None,
        out: storage.PathLike,
        tags: "Tags | None" = None,
        *,
        workers: int | None = None,
    ) -> "Index":
        """Makes an index of a folder, or lets one follow what has changed in the folder since.

        Args:
            model: folder of a pretrained model; None for the built-in model.
            tags: that were given to the files, by path relative to the folder.
            workers: that read sounds; as many as there are cores, at most 16.

        Raises:
            ValueError: there is no sound, none can be read, or `out` is an index of another folder
                or model, or something else.
            OSError: `out` cannot be written.
        """
        from coala_jax.embedding.embedder import load

        embedder = load(model)
        place = None if model is None else Path(model)
        index, _ = cls.update(sounds, embedder, place, out, tags, workers=workers)
        return index

    @classmethod
    def update(
        cls,
        sounds: storage.PathLike,
        embedder: "Embedder",
        model: Path | None,
        out: storage.PathLike,
        tags: "Tags | None" = None,
        *,
        workers: int | None = None,
        progress: bool = False,
    ) -> tuple["Index", "Changes"]:
        """`build` with a model that is loaded from its folder; also returns what has changed."""
        from coala_jax.embedding.index_update import follow

        index_store.lancedb()
        root, folder = Path(sounds), Path(out)
        if not root.is_dir():
            raise ValueError(f"{shown(root)}: no such folder. Fix: name a folder of sounds")
        check_free(folder)
        with locked(folder):
            settings, store = open_or_create(folder, root, embedder, model)
            kwargs = {"workers": workers, "progress": progress}
            changes = follow(folder, settings, store, embedder, tags, **kwargs)
            settings, store = rescale(folder, settings, store)
            store.make_fast(
                {"embedding", "projection"} if settings.match == "cosine" else {"embedding"}
            )
        return cls(folder), changes

    def words(self, text: str) -> index_words.Words:
        """The tags that a question means; see `index_words.parse`. Raises ValueError."""
        return index_words.parse(text, self._vocabulary)

    def search(
        self,
        words: str,
        *,
        like: storage.PathLike | None = None,
        seconds: Range | None = None,
        top: int = 20,
        model: storage.PathLike | None = None,
    ) -> list[Hit]:
        """The sounds that fit tags best; with `like`, those that also sound like a sound.

        Args:
            words: tags, separated by commas, those to avoid after a `-`: "kick, -snare". A word
                that the model does not know is replaced, with a warning, by the tag that is spelt
                most like it.
            like: a file, in the index or not.
            seconds: the least and the greatest length.
            model: the folder of the index's model, if it has moved; only a file that is not in the
                index needs it.

        Raises:
            ValueError: no tag is like a word, the file cannot be read, or the model is another.
        """
        return self.find(words, like, seconds=seconds, top=top, model=model)

    def similar(
        self,
        sound: storage.PathLike,
        *,
        words: str | None = None,
        seconds: Range | None = None,
        top: int = 20,
        model: storage.PathLike | None = None,
    ) -> list[Hit]:
        """The sounds most like a file, which is not among them; else as `search`."""
        return self.find(words, sound, seconds=seconds, top=top, model=model)

    def find(
        self,
        words: str | None,
        like: storage.PathLike | None,
        *,
        seconds: Range | None = None,
        top: int = 20,
        model: storage.PathLike | None = None,
    ) -> list[Hit]:
        """`search` by words, by a sound that the results are like, or by both."""
        wanted = None if words is None else self.words(words)
        for note in () if wanted is None else wanted.notes:
            logging.warning("%s", note)
        sound = None if like is None else self._like(Path(like), model)
        return self._hits(self.rank(wanted, sound, seconds=seconds, top=top))

    def keep(self) -> list[str]:
        """Reads what is compared into memory, for many questions to come.

        Returns:
            The columns that were too large: above 1 GiB, some 300,000 sounds at 900 tags or
            140,000 at 1,920 values of an embedding.
        """
        return self._ranker.keep()

    def rank(
        self,
        words: index_words.Words | None,
        like: Like | None,
        *,
        seconds: Range | None = None,
        top: int = 20,
    ) -> Ranking:
        """`find` as ids of rows and scores, of words that are parsed and a sound that is known."""
        return self._ranker.rank(words, like, seconds, top)

    def like_row(self, row: int) -> Like:
        """A sound of the index that results are to be like, by the id of its row.

        Raises:
            ValueError: there is no such row.
        """
        vectors = index_store.vectors_of(self._store.take([row], ["embedding"]), "embedding")
        if not len(vectors):
            raise ValueError(f"the index has no row {row}. Fix: search again")
        return Like(row, vectors[0])

    def like_embedding(self, embedding: Float32[np.ndarray, " value"]) -> Like:
        """A sound that is not in the index, by what its model's `describe_each` gave."""
        mean, spread = index_settings.read_scale(self.folder, self.settings.table)
        return Like(None, (embedding - mean) / spread)

    def duplicates(self, correlation: float = 0.95) -> list[list[Hit]]:
        """Sounds that are one recording: cut, encoded again, turned up or down, or equal files.

        Candidates are near by embedding and confirmed by waveform (`audio.correlation`), at most
        the first minute of each; files that cannot be read are left out, with a warning.

        Args:
            correlation: from which two sounds count as one recording, in (0, 1].

        Returns:
            Groups of at least two, the longest sound first; a sound's score is its highest
            correlation with another of its group.

        Raises:
            ValueError: the correlation is out of range.
        """
        from coala_jax.embedding.index_groups import near_copies

        if not 0 < correlation <= 1:
            raise ValueError(f"correlation is {correlation:g}; it must be above 0, at most 1")
        groups, failures = near_copies(self._store, self.sounds, correlation)
        for path, error in failures.items():
            logging.warning("%s: left out: %s", shown(path), error)
        found = [self._hits(_ranking(group)) for group in groups]
        found = [sorted(hits, key=lambda hit: (-hit.seconds, hit.path)) for hits in found]
        return sorted(found, key=lambda hits: hits[0].path)

    def clusters(self, count: int | None = None, seed: int = 0) -> list[tuple[str, list[Hit]]]:
        """The sounds in groups that sound alike, the largest first; with the name of each.

        A name is of the tags that fit the group more than the whole index. Scores are NaN.

        Args:
            count: of groups; None for the square root of half the sounds, at most 30.
        """
        from coala_jax.embedding.index_groups import groups_of

        groups = groups_of(self._store, self.folder, self.settings, count, seed)
        return [
            (name, sorted(self._hits(_ranking([(row, math.nan) for row in rows]))))
            for name, rows in groups
        ]

    def map(self) -> "Map":
        """The sounds in two dimensions, in named groups; made once and kept in the folder.

        It takes seconds, of very many sounds minutes.
        """
        from coala_jax.embedding.index_map import map_of

        return map_of(self._store, self.folder, self.settings, self.version)

    def _hits(self, ranking: Ranking) -> list[Hit]:
        ids, scores = ranking
        rows = self._store.take(ids.tolist(), ["path", "raw_path", "seconds", "tags"])
        columns = index_store.paths_of(rows), rows["seconds"].to_pylist(), rows["tags"].to_pylist()
        return [
            Hit(path, float(score), seconds, tuple(tags))
            for score, path, seconds, tags in zip(scores, *columns, strict=True)
        ]

    def _like(self, sound: Path, model: storage.PathLike | None) -> Like:
        """A file that results are to be like: its row, if it is in the index, and its embedding."""
        if (row := self._row_of(sound)) is not None:
            return self.like_row(row)
        embedder = self.load_model(model)
        (vector,) = embedder.embed([sound], policy=index_settings.POLICY)
        return self.like_embedding(vector)

    def load_model(self, model: storage.PathLike | None = None) -> "Embedder":
        """The model that made the vectors.

        model: its folder, if it has moved.

        Raises:
            ValueError: it is not there, or another one is.
        """
        from coala_jax.embedding.embedder import load

        named = self.settings.model if model is None else model
        place = None if named is None else Path(named)
        if place is not None and not place.is_dir():
            raise ValueError(
                f"{shown(self.folder)}: its model is no longer in {shown(place)}, and only sounds "
                "of the index can be asked for. Fix: name the model's folder with --model"
            )
        embedder = load(place, self.settings.pooling)
        self.settings.check_model(embedder, place, self.folder)
        return embedder

    def _row_of(self, sound: Path) -> int | None:
        """The row of a path of the index, or of a file with the content of one."""
        files, _ = self._store.files()
        inside = self.sounds / sound  # which is the sound itself where that is absolute
        for file in (sound.absolute(), inside):
            if file.is_relative_to(self.sounds):
                found = files.get(file.relative_to(self.sounds).as_posix())
                if found is not None and (not file.is_file() or _state(file) == found[1:3]):
                    return found.id
        if not sound.is_file():
            return None
        size, digest = sound.stat().st_size, None
        for found in files.values():
            if found.size_bytes == size:
                digest = digest or storage.file_sha256(sound)
                if found.sha256 == digest:
                    return found.id
        return None


def _state(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns


def _ranking(rows: Sequence[tuple[int, float]]) -> Ranking:
    ids, scores = zip(*rows, strict=True)
    return np.array(ids, np.int64), np.array(scores, np.float64)
