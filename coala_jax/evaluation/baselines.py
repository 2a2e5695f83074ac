"""The MFCC baseline (paper, section 3.2): 120 values per clip, without training.

    Mfcc("paper").clip_vector(waveform, "paper")

The first 20 mel-frequency cepstral coefficients, their deltas and double deltas, and two statistics
of each of the 60 through time, in this order: the first statistic of all rows, then the second.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable

import numpy as np
import scipy.fft
from jaxtyping import Float, Float32

from coala_jax.audio.decode import peak_normalize
from coala_jax.audio.frontend import FrontEnd, Waveform
from coala_jax.audio.level import check_level
from coala_jax.embedding import pooling

MODES = ("paper", "released")
COEFFICIENTS = 20
# Part of the digest: raise it when the definition of a vector changes.
_VERSION = 1
_PAPER_WIDTH, _RELEASED_WIDTH = 9, 5  # frames that a delta is taken over
_RELEASED_WINDOW = 2048  # samples; librosa's default

Rows = Float[np.ndarray, "row time"]


class Mfcc:
    """One of two baselines.

    paper: of the log-mel frames of the clip's patches, which a model hears too, by the paper's
        front end; deltas over 9 frames; mean and standard deviation. The policy `masked` leaves
        out padded frames, also in the deltas.
    released: librosa's own MFCCs (Hann window of 2048 samples, reflection at the edges, 128 bands,
        decibels down to 80 below the loudest), deltas over 5 frames with the first and last frame
        repeated; mean and variance. Nothing is padded, so all policies give the same.

    Args:
        level: peak: of the clip at a peak of 1, as a model of that level hears it.

    Attributes:
        name: in tables and plots.
        digest: SHA-256 in hex of all settings.
        sample_rate_hz: of the waveforms it takes.

    Raises:
        ValueError: there is no such mode or level.
    """

    case = "mfcc"  # the row of the paper's tables that it stands beside

    def __init__(self, mode: str = "paper", name: str = "", level: str = "recorded") -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be {' or '.join(MODES)}, got {mode}")
        check_level(level)
        self.mode, self.level = mode, level
        shown = "MFCC" if mode == "paper" else "MFCC released"
        self.name = name or shown + (", peak" if level == "peak" else "")
        self._front_end = FrontEnd()
        self.sample_rate_hz = self._front_end.sample_rate_hz
        settings = [mode, COEFFICIENTS, _VERSION, self._front_end.to_dict()]
        settings += [level] if level == "peak" else []
        text = f"mfcc {json.dumps(settings, sort_keys=True)}"
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    def clip_vector(
        self, waveform: Waveform, policy: str = "paper"
    ) -> Float32[np.ndarray, " value"]:
        """The 120 values of a clip of at least one sample, one channel at `sample_rate_hz`.

        Raises:
            ValueError: there is no such policy.
        """
        pooling.check_policy(policy)
        if self.level == "peak":
            waveform = peak_normalize(waveform)
        if self.mode == "paper":
            rows, width, spread = self._paper(waveform, policy), _PAPER_WIDTH, np.std
        else:
            rows, width, spread = self._released(waveform), _RELEASED_WIDTH, np.var
        rows = _with_deltas(rows.astype(np.float64), width, repeat_ends=self.mode == "released")
        return np.concatenate([rows.mean(axis=1), spread(rows, axis=1)]).astype(np.float32)

    def embed_clips(
        self, waveforms: Iterable[Waveform], policy: str = "paper"
    ) -> Float32[np.ndarray, "clip value"]:
        """`clip_vector` of each, as `Embedder.embed_clips`."""
        vectors = [self.clip_vector(waveform, policy) for waveform in waveforms]
        return np.stack(vectors) if vectors else np.empty((0, 6 * COEFFICIENTS), np.float32)

    def _paper(self, waveform: Waveform, policy: str) -> Rows:
        patches, counted_frames = pooling.cut(self._front_end, waveform, policy)
        # The patches follow each other without gaps: side by side they are the clip again.
        log_mel = np.concatenate(patches, axis=1)[:, :counted_frames]
        return scipy.fft.dct(log_mel, axis=0, type=2, norm="ortho")[:COEFFICIENTS]

    def _released(self, waveform: Waveform) -> Rows:
        from librosa.feature import mfcc  # takes a second to import

        with warnings.catch_warnings():
            # Of sounds shorter than a window, which librosa pads with zeros, as wanted.
            warnings.filterwarnings("ignore", message="n_fft=.* is too large for input signal")
            # librosa 0.7.2, which the authors used, reflects at the edges; sounds shorter than half
            # a window cannot be reflected.
            mode = "reflect" if waveform.size > _RELEASED_WINDOW // 2 else "constant"
            rate_hz = self.sample_rate_hz
            return mfcc(y=waveform, sr=rate_hz, n_mfcc=COEFFICIENTS, pad_mode=mode)


def _with_deltas(
    rows: Rows, width: int, repeat_ends: bool
) -> Float[np.ndarray, "row_and_deltas time"]:
    """The rows, their deltas, their double deltas.

    At the ends the line or parabola through the first or last `width` frames is extended; with
    `repeat_ends`, or fewer than `width` frames, the outermost frame is repeated instead.
    """
    from librosa.feature import delta

    mode = "nearest" if repeat_ends or rows.shape[1] < width else "interp"
    deltas = [delta(rows, width=width, order=order, mode=mode) for order in (1, 2)]
    return np.concatenate([rows, *deltas])
