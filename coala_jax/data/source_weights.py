"""How often an epoch draws the sounds of each source."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

if TYPE_CHECKING:
    from coala_jax.data.dataset import SplitReader


def parse(text: str) -> dict[str, float]:
    """The weights of "SOURCE=WEIGHT,SOURCE=WEIGHT", by source; none of an empty text.

    Raises:
        ValueError: the text is not of this form, a source stands there twice, or a weight is not a
            finite number of 0 or more.
    """
    weights: dict[str, float] = {}
    for entry in text.split(",") if text else ():
        source, _, number = (part.strip() for part in entry.rpartition("="))
        weight = float(number)
        if not source or source in weights or not 0 <= weight < math.inf:
            raise ValueError(f"not a new source and its weight: {entry!r}")
        weights[source] = weight
    return weights


@dataclasses.dataclass(frozen=True)
class SourceSampling:
    """Which examples of a split each epoch draws.

    Every source has an order of its own, by the seed, that the epochs walk through again and again,
    each beginning where the one before it ended. So of N sounds any N draws in a row are all
    different, whatever the epochs' ends: with a weight of 0.5 two epochs have each sound once.

    orders: of each source, the indices of its examples in their shuffled order.
    draws: of each source, the number of examples that an epoch takes.
    """

    orders: Mapping[str, Int[np.ndarray, " example"]]
    draws: Mapping[str, int]

    @property
    def examples(self) -> int:
        """Number of draws in an epoch."""
        return sum(self.draws.values())

    def of_epoch(self, epoch: int) -> Int[np.ndarray, " draw"]:
        """The indices that an epoch draws, ascending; a weight above 1 repeats some."""
        drawn = [
            order[(epoch * self.draws[source] + np.arange(self.draws[source])) % len(order)]
            for source, order in self.orders.items()
        ]
        return np.sort(np.concatenate(drawn))

    def __str__(self) -> str:
        return ", ".join(
            f"{self.draws[source]} of {len(order)} of {source or 'no source'}"
            for source, order in self.orders.items()
        )


def make_sampling(
    split: "SplitReader", weights: str, seed: int, show_progress: bool = False
) -> SourceSampling | None:
    """The sampling by `config.data.source_weights`; None without weights.

    With weights, reads every record of the split once.

    Raises:
        DatasetError: a record is damaged.
        ValueError: a weight is of a source that no example is of.
    """
    if not weights:
        return None
    sources = _sources(split, show_progress)
    weight_of = _complete(parse(weights), sources)
    orders, draws = {}, {}
    for place, (source, weight) in enumerate(weight_of.items()):
        own = np.flatnonzero(np.array(sources) == source)
        # Three numbers, so that no source's order is drawn like that of an epoch.
        orders[source] = np.random.default_rng((seed, place, 1)).permutation(own)
        draws[source] = max(round(weight * len(own)), int(weight > 0))
    return SourceSampling(orders, draws)


def trained_on(split: "SplitReader", weights: str) -> Int[np.ndarray, " example"]:
    """The indices of the examples that training draws: all but those of sources of weight 0.

    Raises as `make_sampling` does.
    """
    if 0 not in parse(weights).values():
        return np.arange(len(split))
    sources = _sources(split)
    weight_of = _complete(parse(weights), sources)
    return np.flatnonzero([weight_of[source] > 0 for source in sources])


def _sources(split: "SplitReader", show_progress: bool = False) -> list[str]:
    """The source of each example."""
    indices = tqdm(range(len(split)), "reading sources", unit="", disable=not show_progress)
    return [split[index].source for index in indices]


def _complete(weights: Mapping[str, float], sources: Sequence[str]) -> dict[str, float]:
    """The weight of each source that there is, in the order of their names."""
    present = sorted(set(sources))
    for source in sorted(weights.keys() - set(present)):
        raise ValueError(
            f"config.data.source_weights names {source!r}, and no training sound is of that "
            f"source. Fix: name some of {', '.join(map(repr, present))}"
        )
    return {source: weights.get(source, 1.0) for source in present}
