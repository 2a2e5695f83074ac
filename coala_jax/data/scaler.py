"""Scales log-mel patches to [0, 1] when they are read (paper, section 3.1).

The shards of a dataset hold unscaled log-mel; the manifest holds the minimum and maximum over the
training patches.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float32

FITTED = ("global", "per_frame")  # to the training patches: paper, released
SCALINGS = (*FITTED, "none")  # none: the patches are scaled already

_MOST = float(np.finfo(np.float32).max)
LogMel = Float32[np.ndarray, "mel time"]


@dataclass(frozen=True)
class Scaler:
    """The range of the training patches, by which all patches are scaled.

    Attributes:
        minimum, maximum: log-mel; one number for all values (paper), or one for each frame of a
            patch, over sounds and mel bands (released).
        clip_above: whether values above the training range become 1 (paper) or exceed 1
            (released). Values below the range always become 0.

    Raises:
        ValueError: a number is not finite, a minimum exceeds its maximum, or the range is empty.
    """

    minimum: float | tuple[float, ...]
    maximum: float | tuple[float, ...]
    clip_above: bool = True

    def __post_init__(self) -> None:
        low, high = np.atleast_1d(self.minimum), np.atleast_1d(self.maximum)
        if low.shape != high.shape:
            raise ValueError(f"{low.size} minima and {high.size} maxima: the numbers must be equal")
        good = (-math.inf < low) & (low <= high) & (high < math.inf)
        if not good.all() or (low == high).all():
            frame = int(np.argmin(good))
            where = f" in frame {frame}" if isinstance(self.minimum, tuple) else ""
            raise ValueError(
                f"the training patches span {low[frame]} to {high[frame]}{where}: these must be "
                "two finite numbers, the smaller first. Fix: check that the sounds are not silent"
            )

    @classmethod
    def none(cls) -> "Scaler":
        """For patches that are scaled already; values below 0 become 0."""
        return cls(0.0, 1.0, clip_above=False)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Scaler":
        """The inverse of `to_dict`. Raises ValueError for missing or unknown keys or types."""
        known = {field.name for field in fields(cls)}
        if odd := known ^ {"clip_above", *settings}:  # which has a default
            raise ValueError(f"missing or unknown settings of the scaler: {', '.join(sorted(odd))}")
        if not isinstance(settings.get("clip_above", True), bool):
            raise ValueError(f"clip_above is {settings['clip_above']!r:.50}, not true or false")
        for name in ("minimum", "maximum"):
            values = settings[name] if isinstance(settings[name], list) else [settings[name]]
            if not values or any(type(value) not in (int, float) for value in values):
                raise ValueError(f"{name} of the scaler is {settings[name]!r:.50}, no numbers")
            if any(abs(value) > _MOST for value in values):
                raise ValueError(f"{name} of the scaler is beyond float32")
        lists = {key: tuple(value) for key, value in settings.items() if isinstance(value, list)}
        return cls(**settings | lists)

    def to_dict(self) -> dict[str, Any]:
        settings = vars(self).items()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in settings}

    def scale(self, log_mel: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Log-mel to [0, 1], or above 1 where `clip_above` is false; the last axis is time."""
        low = np.asarray(self.minimum)
        span = np.asarray(self.maximum) - low
        # A constant frame is only shifted, as by scikit-learn's MinMaxScaler.
        span = np.where(span < 10 * np.finfo(np.float32).eps, 1.0, span)
        scaled = (log_mel - low.astype(np.float32)) / span.astype(np.float32)
        return np.clip(scaled, 0.0, 1.0 if self.clip_above else None, dtype=np.float32)


class MinMax:
    """Finds the range of the training patches, one patch at a time, in any order.

    scaling: global (paper), per_frame (released), or none for patches that are scaled already.

    Raises:
        ValueError: unknown scaling.
    """

    def __init__(self, scaling: str) -> None:
        if scaling not in SCALINGS:
            raise ValueError(f"scaling is {scaling!r}: it must be one of {', '.join(SCALINGS)}")
        self._scaling = scaling
        self._low = self._high = None

    def partial_fit(self, patch: LogMel) -> None:
        axis = 0 if self._scaling == "per_frame" else None
        low, high = patch.min(axis=axis), patch.max(axis=axis)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)

    def scaler(self) -> Scaler:
        """The scaler of all patches so far.

        Raises:
            ValueError: there are none, or all their values are equal.
        """
        if self._scaling == "none":
            return Scaler.none()
        if self._low is None:
            raise ValueError("no training patches: the range to scale by is unknown")
        if self._scaling == "global":
            return Scaler(float(self._low), float(self._high))
        return Scaler(tuple(self._low.tolist()), tuple(self._high.tolist()), clip_above=False)
