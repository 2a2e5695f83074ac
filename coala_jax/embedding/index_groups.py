"""Sounds of an index that belong together: near-copies, and groups of sounds that are alike."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy.special
from jaxtyping import Float32, Float64, Int64
from scipy.sparse import coo_array, csgraph

from coala_jax.audio.correlation import MOST, RATE_HZ, Waveform, correlation
from coala_jax.audio.preview import beginning
from coala_jax.embedding import index_store
from coala_jax.embedding.index_settings import Settings, read_tags
from coala_jax.embedding.index_store import Store, vectors_of
from coala_jax.models.bank import unit

# Of each sound so many of the nearest are compared with it by waveform, as far as their cosine is
# that of a copy. Of 60 sounds encoded again as MP3 or Vorbis all were among them, and two thirds of
# those that were cut to four fifths.
_NEAREST = 5
_LEAST_COSINE = 0.7
_BLOCK = 1024  # sounds that are compared with all others at a time
_WAVEFORMS = 64  # in memory: 5 MB each at most

_FITTED = 100_000  # sounds of which groups are made; others join the nearest
_MOST_GROUPS = 30
_NAMES = 2  # tags in the name of a group

Units = Float32[np.ndarray, "sound value"]
Pairs = list[tuple[int, int]]


def near_copies(
    store: Store, root: Path, least: float
) -> tuple[list[list[tuple[int, float]]], dict[str, str]]:
    """Groups of rows that are one recording; with each its highest correlation with another.

    Files of one content correlate with 1. Others are compared by waveform where their embeddings
    are near; see `audio.correlation`.

    Args:
        least: correlation from which two sounds count as one recording.

    Returns:
        The groups, and why files could not be read, by path.
    """
    files, _ = store.files()
    paths = {file.id: path for path, file in files.items()}
    digests: dict[str, int] = {}
    found: dict[tuple[int, int], float] = {}
    for file in sorted(files.values()):
        first = digests.setdefault(file.sha256, file.id)
        if first != file.id:
            found[first, file.id] = 1.0
    sha256 = {file.id: file.sha256 for file in files.values()}
    waveforms, failures = _Waveforms(root), {}
    for one, other in _candidates(store):
        if one not in sha256 or other not in sha256 or sha256[one] == sha256[other]:
            continue
        try:
            pair = waveforms.read(paths[one]), waveforms.read(paths[other])
        except ValueError as error:
            failures[paths[one if waveforms.failed == paths[one] else other]] = str(error)
            continue
        if (value := correlation(*pair)) >= least:
            found[one, other] = min(value, 1.0)
    return _connected(found), failures


class _Waveforms:
    """The beginnings of files, the last few kept."""

    def __init__(self, root: Path) -> None:
        self._root, self._kept, self.failed = root, OrderedDict(), ""

    def read(self, path: str) -> Waveform:
        if path not in self._kept:
            if len(self._kept) == _WAVEFORMS:
                self._kept.popitem(last=False)
            try:
                self._kept[path] = beginning(self._root / path, RATE_HZ, MOST)
            except ValueError:
                self.failed = path
                raise
        self._kept.move_to_end(path)
        return self._kept[path]


def _candidates(store: Store) -> Pairs:
    """Pairs of rows, the smaller id first, whose embeddings are near."""
    exact = len(store) <= index_store.EXACT_SOUNDS
    pairs = set()
    for row, others in _neighbours(store) if exact else _found_neighbours(store):
        pairs |= {(min(row, other), max(row, other)) for other in others}
    return sorted(pairs)


def _neighbours(store: Store) -> Iterator[tuple[int, list[int]]]:
    """Of each row the nearest, each compared with all others."""
    ids, units = all_units(store)
    for start in range(0, len(ids), _BLOCK):
        cosines = units[start : start + _BLOCK] @ units.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -1  # a sound is no copy of itself
        count = min(_NEAREST, len(ids) - 1)
        nearest = np.argpartition(-cosines, max(count - 1, 0), axis=1)[:, :count]
        for row, places in enumerate(nearest):
            near = places[cosines[row, places] >= _LEAST_COSINE]
            yield int(ids[start + row]), ids[near].tolist()


def _found_neighbours(store: Store) -> Iterator[tuple[int, list[int]]]:
    """The same of very many rows, as far as the vector index finds them."""
    for batch in store.scan(["id", "embedding"]):
        vectors = vectors_of(batch, "embedding")
        for row, vector in zip(batch["id"].to_pylist(), vectors, strict=True):
            ids, cosines = store.nearest("embedding", vector, _NEAREST + 1)
            near = ids[cosines >= _LEAST_COSINE].tolist()
            yield row, [other for other in near if other != row]


def all_units(store: Store) -> tuple[Int64[np.ndarray, " sound"], Units]:
    """The ids and the embeddings of all rows, in no order, of length 1."""
    ids, vectors = [np.empty(0, np.int64)], []
    for batch in store.scan(["id", "embedding"]):
        ids.append(batch["id"].to_numpy())
        vectors.append(unit(vectors_of(batch, "embedding")))
    size = store.schema.field("embedding").type.list_size
    return np.concatenate(ids), np.concatenate([np.empty((0, size), np.float32), *vectors])


def _connected(pairs: dict[tuple[int, int], float]) -> list[list[tuple[int, float]]]:
    """The rows that pairs connect, each with its highest value, in the order of the rows."""
    if not pairs:
        return []
    rows, places = np.unique(np.array(list(pairs)), return_inverse=True)
    places = places.reshape(-1, 2)
    links = coo_array((np.ones(len(places)), places.T), shape=(len(rows), len(rows)))
    count, labels = csgraph.connected_components(links, directed=False)
    best = np.zeros(len(rows))
    for column in (0, 1):
        np.maximum.at(best, places[:, column], list(pairs.values()))
    return [
        [(int(rows[row]), float(best[row])) for row in np.flatnonzero(labels == group)]
        for group in range(count)
    ]


def groups_of(
    store: Store, folder: Path, settings: Settings, count: int | None, seed: int
) -> list[tuple[str, list[int]]]:
    """The rows in groups that sound alike, the largest first, each with a name of its own.

    The groups are scikit-learn's mini-batch k-means of the unit embeddings. A name is of the tags
    that fit the group's sounds more than those of the whole index.

    Args:
        count: of groups; None for the square root of half the sounds, at most 30.
    """
    from sklearn.cluster import MiniBatchKMeans  # takes a second to import

    total = len(store)
    wanted = min(round((total / 2) ** 0.5), _MOST_GROUPS) if count is None else count
    wanted = max(1, min(wanted, total))
    kmeans = MiniBatchKMeans(wanted, random_state=seed, n_init=3, batch_size=4096)
    step = -(-total // _FITTED)
    where = None if step == 1 else f"id % {step} = 0"
    sample = [unit(vectors_of(rows, "embedding")) for rows in store.scan(["embedding"], where)]
    kmeans.fit(np.concatenate(sample))
    column = settings.match_column
    sums, squares = np.zeros((wanted, len(settings.tags))), np.zeros(len(settings.tags))
    members: list[list[int]] = [[] for _ in range(wanted)]
    for rows in store.scan(["id", "embedding", column]):
        labels = kmeans.predict(unit(vectors_of(rows, "embedding")))
        scores = _tag_scores(vectors_of(rows, column), settings, folder)
        np.add.at(sums, labels, scores)
        squares += np.square(scores).sum(axis=0)
        for row, label in zip(rows["id"].to_pylist(), labels.tolist(), strict=True):
            members[label].append(row)
    kept = sorted(
        (label for label in range(wanted) if members[label]), key=lambda x: -len(members[x])
    )
    sizes = np.array([len(members[label]) for label in kept])
    lifts = _lifts(sums[kept] / sizes[:, None], sizes, squares / total, settings.match)
    return list(
        zip(_names(lifts, settings), [sorted(members[label]) for label in kept], strict=True)
    )


def _tag_scores(
    values: Float32[np.ndarray, "sound value"], settings: Settings, folder: Path
) -> Float64[np.ndarray, "sound tag"]:
    """Cosines with the tags, shares of votes, or probabilities."""
    if settings.match == "cosine":
        return (unit(values) @ read_tags(folder).T).astype(np.float64)
    values = values.astype(np.float64)
    return scipy.special.expit(values) if settings.match == "logits" else values


def _lifts(
    means: Float64[np.ndarray, "group tag"],
    sizes: Int64[np.ndarray, " group"],
    squares: Float64[np.ndarray, " tag"],
    match: str,
) -> Float64[np.ndarray, "group tag"]:
    """How much more each tag fits a group than all sounds.

    Of cosines in standard deviations; of shares p, beside q of all, p log(p / q), which is high
    where a tag is both frequent in the group and rare elsewhere.
    """
    overall = (sizes / sizes.sum()) @ means
    if match == "cosine":
        return (means - overall) / np.sqrt(np.maximum(squares - overall**2, 1e-12))
    return means * np.log(np.maximum(means, 1e-12) / np.maximum(overall, 1e-12))


def _names(lifts: Float64[np.ndarray, "group tag"], settings: Settings) -> list[str]:
    """The best tags of each group; more of them, and then a number, where a name is taken."""
    vocabulary, names = settings.vocabulary, []
    for row in lifts:
        order: Sequence[int] = np.argsort(-row, kind="stable")[: _NAMES + 3].tolist()
        tags = [vocabulary.readable(place) for place in order]
        texts = [", ".join(tags[:count]) for count in range(min(_NAMES, len(tags)), len(tags) + 1)]
        free = [text for text in texts if text not in names]
        number = sum(name.startswith(texts[-1]) for name in names) + 1
        names.append(free[0] if free else f"{texts[-1]} ({number})")
    return names
