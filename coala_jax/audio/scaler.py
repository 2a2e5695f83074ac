"""Log-mel patches to patches in [0, 1] (paper, section 3.1)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float32

SCALINGS = ("global", "per_frame")  # paper, released

LogMel = Float32[np.ndarray, "mel time"]


@dataclass(frozen=True)
class Scaler:
    """The range of the training patches, to scale all patches to [0, 1].

    Attributes:
        minimum, maximum: one number for all values (paper), or one for each frame of a patch, over
            sounds and mel bands (released).
        clip_above: whether a value above the training range becomes 1 (paper) or passes it
            (released). A value below the range becomes 0 always.

    Raises:
        ValueError: the numbers are not finite, not the smaller first, or span nothing at all.
    """

    minimum: float | tuple[float, ...]
    maximum: float | tuple[float, ...]
    clip_above: bool = True

    def __post_init__(self) -> None:
        low, high = np.atleast_1d(self.minimum), np.atleast_1d(self.maximum)
        if low.shape != high.shape:
            raise ValueError(f"{low.size} minima and {high.size} maxima; they must be as many")
        good = (-math.inf < low) & (low <= high) & (high < math.inf)
        if not good.all() or (low == high).all():
            frame = int(np.argmin(good))
            where = f" in frame {frame}" if isinstance(self.minimum, tuple) else ""
            raise ValueError(
                f"the training patches span {low[frame]} to {high[frame]}{where}, which must be "
                "two finite numbers, the smaller first; do the sounds hold anything but silence?"
            )

    @classmethod
    def fit(cls, patches: Iterable[LogMel], scaling: str) -> "Scaler":
        """The scaler of training patches; `scaling` is global (paper) or per_frame (released)."""
        if scaling not in SCALINGS:
            raise ValueError(f"scaling must be {' or '.join(SCALINGS)}, got {scaling}")
        axis = 0 if scaling == "per_frame" else None
        low = high = None
        for patch in patches:
            lowest, highest = patch.min(axis=axis), patch.max(axis=axis)
            low = lowest if low is None else np.minimum(low, lowest)
            high = highest if high is None else np.maximum(high, highest)
        if low is None:
            raise ValueError("there is no training patch to take the range from")
        if scaling == "global":
            return cls(float(low), float(high))
        return cls(tuple(low.tolist()), tuple(high.tolist()), clip_above=False)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Scaler":
        """Raises ValueError when the settings are not those of `to_dict`.

        Without `clip_above`, as older models have it, values are clipped.
        """
        known = {field.name for field in fields(cls)}
        if {"clip_above", *settings} != known:
            odd = ", ".join(sorted({"clip_above", *settings} ^ known))
            raise ValueError(f"the scaler's settings differ from this version's in: {odd}")
        lists = {key: tuple(value) for key, value in settings.items() if isinstance(value, list)}
        return cls(**settings | lists)

    def to_dict(self) -> dict[str, Any]:
        settings = vars(self).items()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in settings}

    def scale(self, log_mel: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Log-mel values to [0, 1], above 1 where `clip_above` is false; the last axis is time."""
        low = np.asarray(self.minimum)
        span = np.asarray(self.maximum) - low
        # A frame of one value is only shifted, as scikit-learn's MinMaxScaler does.
        span = np.where(span < 10 * np.finfo(np.float32).eps, 1.0, span)
        scaled = (log_mel - low.astype(np.float32)) / span.astype(np.float32)
        return np.clip(scaled, 0.0, 1.0 if self.clip_above else None, dtype=np.float32)
