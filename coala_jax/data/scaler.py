"""Log-mel patches to patches in [0, 1] (paper, section 3.1), where they are read.

The shards of a dataset hold log-mel as it is; its minimum and maximum over the training patches
stand in the manifest.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float32

FITTED = ("global", "per_frame")  # to the training patches: paper, released
SCALINGS = (*FITTED, "none")  # none: for patches that come scaled

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
    def none(cls) -> "Scaler":
        """Leaves patches as they are, for those that come scaled: 0 is their smallest value."""
        return cls(0.0, 1.0, clip_above=False)

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


class MinMax:
    """Finds the range of training patches, one patch at a time, in any order.

    scaling: global (paper), per_frame (released), or none for patches that come scaled.

    Raises:
        ValueError: there is no such scaling.
    """

    def __init__(self, scaling: str) -> None:
        if scaling not in SCALINGS:
            raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, got {scaling}")
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
            ValueError: there are none, or they hold one value only.
        """
        if self._scaling == "none":
            return Scaler.none()
        if self._low is None:
            raise ValueError("there is no training patch to take the range from")
        if self._scaling == "global":
            return Scaler(float(self._low), float(self._high))
        return Scaler(tuple(self._low.tolist()), tuple(self._high.tolist()), clip_above=False)
