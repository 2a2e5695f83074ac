"""Splits validation sounds in two halves: one chooses the epoch, the other shows how good it is."""

import hashlib

import numpy as np
from jaxtyping import Int64, UInt8

from coala_jax.data.schema import Example

Digests = UInt8[np.ndarray, "example 2 32"]
Places = Int64[np.ndarray, " _"]


def digests(example: Example) -> UInt8[np.ndarray, "2 32"]:
    """SHA-256 of the example's group, which is its sound where it has none, and of its sound."""
    texts = (example.group or example.id, example.id)
    joined = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    return np.frombuffer(joined, np.uint8).reshape(2, 32)


def halve(found: Digests) -> tuple[Places, Places]:
    """The places of both halves, ascending; each has at least one of two or more examples.

    Groups stay whole: the largest first, and those of a size in the order of their digests, each
    goes to the half that is smaller so far. So neither the order on disk nor names that begin alike
    have a part in it, and equal datasets have equal halves. Where all examples are of one group, or
    of one sound, that is split.
    """
    own, units = np.arange(len(found)), len(found)
    for level in (1, 0):  # the largest that make two
        _, owners = np.unique(found[:, level], axis=0, return_inverse=True)
        if owners.any():
            own, units = owners.reshape(-1), int(owners.max()) + 1
    sizes = np.bincount(own, minlength=units)
    totals, half_of = [0, 0], np.zeros(units, np.int64)
    for unit in np.argsort(-sizes, kind="stable"):
        half_of[unit] = smaller = int(totals[1] < totals[0])
        totals[smaller] += sizes[unit]
    return np.flatnonzero(half_of[own] == 0), np.flatnonzero(half_of[own] == 1)
