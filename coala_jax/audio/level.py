"""The level of a sound: as recorded (paper), or scaled to a peak of 1."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from coala_jax.audio.decode import LEVELS
from coala_jax.audio.frontend import Waveform

_HELD_SAMPLES = 2**21  # of a sound whose peak is looked for: 95 s at 22 kHz, 8 MiB


def check_level(level: str) -> None:
    """Raises ValueError when there is no such level."""
    if level not in LEVELS:
        raise ValueError(f"level must be {' or '.join(LEVELS)}, got {level}")


def at_level(blocks: Callable[[], Iterable[Waveform]], level: str) -> Iterator[Waveform]:
    """The blocks of a sound as recorded (paper), or scaled to a peak of 1 for the sound (``peak``).

    Loudness is part of what a model hears; ``peak`` removes it, for sounds whose levels have
    nothing to do with their classes. Digital silence stays silence.

    Args:
        blocks: begins the sound anew; with ``peak``, one beyond a minute or two is begun twice.

    Raises:
        ValueError: there is no such level.
    """
    check_level(level)
    if level == "recorded":
        yield from blocks()
        return
    peak, samples, held = np.float32(0), 0, []
    for block in blocks():
        peak, samples = max(peak, np.abs(block).max(initial=0)), samples + block.size
        held = [*held, block] if samples <= _HELD_SAMPLES else []
    for block in held or blocks():
        yield block / peak if peak else block
