"""Thirty bugs of this field, to be put into the code one at a time; the tests should notice each.

A fault is known by its name and intent. Where code moves, the same fault gets another file and
text: `old` must stand in `file` exactly once, which `tests/unit/benchmarks/test_seeded_faults.py`
holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One bug.

    Attributes:
        name: distinct.
        intent: what goes wrong, without naming code, so that it can be found again after a move.
        file: relative to the repository, as are the tests.
        old, new: the text that the bug takes away, and what it puts there.
        tests: files of tests that guard this code, the quickest first.
    """

    name: str
    intent: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The file's text with the bug.

        Raises:
            ValueError: the old text is not there exactly once.
        """
        found = text.count(self.old)
        if found != 1:
            raise ValueError(
                f"fault {self.name}: its old text is {found} times in {self.file}, not once. Fix: "
                f"point it at the code that now does this: {self.intent}"
            )
        return text.replace(self.old, self.new)


def _tests(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/{name}.py" for name in names)


_LOSSES = (
    Fault(
        "temperature_forgotten",
        "The contrastive losses compare cosines that are not divided by the temperature.",
        "coala_jax/training/losses.py",
        "    return cosines / temperature\n",
        "    return cosines\n",
        _tests("unit/training/test_losses"),
    ),
    Fault(
        "positive_in_denominator",
        "Equation 10's denominator holds the positive pair, too, as NT-Xent's does.",
        "coala_jax/training/losses.py",
        "    counted = negative | (alone[:, None] & is_own)\n",
        "    counted = negative | is_own\n",
        _tests("unit/training/test_losses"),
    ),
    Fault(
        "divergence_swapped",
        "The divergence of the patch from its reconstruction, in place of the other way round.",
        "coala_jax/training/losses.py",
        "    per_band = (divergence - patches + reconstruction).sum(axis=2)\n",
        "    patches, reconstruction = reconstruction, patches\n"
        "    log_ratio = jnp.log((patches + offset) / (reconstruction + offset))\n"
        "    per_band = (patches * log_ratio - patches + reconstruction).sum(axis=2)\n",
        _tests("unit/training/test_losses"),
    ),
    Fault(
        "divergence_mean_over_time",
        "The divergence is summed over mel bands and averaged over time, not the other way round.",
        "coala_jax/training/losses.py",
        "(divergence - patches + reconstruction).sum(axis=2)",
        "(divergence - patches + reconstruction).sum(axis=1)",
        _tests("unit/training/test_losses"),
    ),
    Fault(
        "padding_in_the_loss",
        "Rows that only fill up a batch are part of the sum that a loss is the mean of.",
        "coala_jax/training/metrics.py",
        "    total = jnp.where(mask, values, jnp.zeros_like(values)).sum()\n",
        "    total = values.sum()\n",
        _tests("unit/training/test_metrics", "unit/training/test_steps", "integration/test_steps"),
    ),
    Fault(
        "padding_is_a_negative",
        "Rows that only fill up a batch are negatives of the contrastive loss.",
        "coala_jax/training/steps.py",
        "parallel.gather(info.mask)[None] & (places[None] != info.global_index[:, None])\n",
        "places[None] != info.global_index[:, None]\n",
        _tests("unit/training/test_steps"),
    ),
)

_PARALLEL = (
    Fault(
        "negatives_of_one_device",
        "The contrastive loss knows only the negatives of its own device.",
        "coala_jax/training/steps.py",
        "    if not loss.equal_tags_are_negatives:\n",
        "    of_one = info.mask.shape[0]\n"
        "    negative &= places[None] // of_one == info.global_index[:, None] // of_one\n"
        "    if not loss.equal_tags_are_negatives:\n",
        _tests("unit/training/test_steps", "integration/test_devices"),
    ),
    Fault(
        "batch_norm_of_one_device",
        "Batch norm takes the statistics of its own device's rows.",
        "coala_jax/ops/normalization.py",
        "    return values if axis_name is None else lax.psum(values, axis_name)\n",
        "    return values\n",
        _tests("unit/ops/test_normalization"),
    ),
    Fault(
        "row_index_without_device",
        "Every device takes its rows for the first of the global batch: wrong dropout, positives.",
        "coala_jax/training/parallel.py",
        "    return jax.lax.axis_index(AXIS) * rows + jnp.arange(rows, dtype=jnp.int32)\n",
        "    return jnp.arange(rows, dtype=jnp.int32)\n",
        _tests("unit/training/test_parallel"),
    ),
    Fault(
        "own_rows_off_by_devices",
        "A process reads rows from its own number on, as if each process had a single device, so "
        "that some rows are read twice and others never.",
        "coala_jax/training/parallel.py",
        "    return np.arange(batch_size).reshape(count, -1)[mine].ravel()\n",
        "    first = jax.process_index() * (batch_size // count)\n"
        "    return np.arange(first, first + sum(mine) * (batch_size // count))\n",
        _tests(
            "unit/training/test_step_blocks",
            "unit/training/test_parallel",
            "distributed/test_processes",
        ),
    ),
    Fault(
        "steps_not_swapped",
        "A table of steps is cut over devices as if its first axis were the device's, so that rows "
        "go to other steps.",
        "coala_jax/training/parallel.py",
        "own.reshape(len(own), local, -1).swapaxes(0, 1)",
        "own.reshape(local, len(own), -1)",
        _tests("unit/training/test_step_blocks", "unit/training/test_parallel"),
    ),
)

_PIPELINE = (
    Fault(
        "partial_batch_dropped",
        "The last batch of an epoch is left out where it is not full, though it should be kept.",
        "coala_jax/data/input_pipeline.py",
        "    return np.split(order, starts)\n",
        "    batches = np.split(order, starts)\n"
        "    return [batch for batch in batches if len(batch) == batch_size] or batches\n",
        _tests("unit/data/test_input_pipeline"),
    ),
    Fault(
        "same_order_every_epoch",
        "The order of the examples depends on the seed, and not on the epoch.",
        "coala_jax/data/input_pipeline.py",
        "np.random.default_rng((seed, epoch))",
        "np.random.default_rng(seed)",
        _tests("unit/data/test_input_pipeline"),
    ),
    Fault(
        "one_example_twice",
        "A last batch of a single example is filled up with one that the epoch has had already.",
        "coala_jax/data/input_pipeline.py",
        "        starts[-1] -= 1\n",
        "        order = np.append(order, order[0])\n",
        _tests("unit/data/test_input_pipeline"),
    ),
    Fault(
        "steps_rounded_down",
        "The number of steps in an epoch is rounded down, though the partial batch is kept.",
        "coala_jax/data/input_pipeline.py",
        "    return examples // batch_size if drop_last else -(-examples // batch_size)\n",
        "    return examples // batch_size\n",
        _tests("unit/data/test_input_pipeline"),
    ),
    Fault(
        "epoch_begun_anew",
        "A run that was stopped within an epoch goes on with that epoch's first batches.",
        "coala_jax/training/step_blocks.py",
        "            )[start:]\n",
        "            )[: self.steps_per_epoch - start]\n",
        _tests("unit/training/test_step_blocks"),
    ),
)

_SCALER = (
    Fault(
        "scaler_of_validation_too",
        "The range that patches are scaled by is taken from validation sounds, too.",
        "coala_jax/data/dataset.py",
        '        if split == "train":\n            self._range',
        "        if split in SPLITS:\n            self._range",
        _tests("unit/data/test_scaler", "unit/data/test_dataset", "unit/preparation/test_run"),
    ),
    Fault(
        "not_clipped",
        "Patches outside the range of the training sounds leave [0, 1] in `paper` mode, too.",
        "coala_jax/data/scaler.py",
        "        return np.clip(scaled, 0.0, 1.0 if self.clip_above else None, dtype=np.float32)\n",
        "        return np.maximum(scaled, 0.0, dtype=np.float32)\n",
        _tests("unit/data/test_scaler", "unit/preparation/test_run"),
    ),
    Fault(
        "per_frame_over_time",
        "The `released` scaler has a range for each mel band over time, not for each frame.",
        "coala_jax/data/scaler.py",
        '        axis = 0 if self._scaling == "per_frame" else None\n',
        '        axis = 1 if self._scaling == "per_frame" else None\n',
        _tests("unit/data/test_scaler", "unit/preparation/test_run"),
    ),
    Fault(
        "constant_frame_over_zero",
        "A frame that has one value in all training sounds is divided by its range, which is 0.",
        "coala_jax/data/scaler.py",
        "        span = np.where(span < 10 * np.finfo(np.float32).eps, 1.0, span)\n",
        "",
        _tests("unit/data/test_scaler", "unit/preparation/test_run"),
    ),
)

_PLAN = (
    Fault(
        "excluded_sounds_kept",
        "Sounds that the list of excluded ids names are counted as excluded, and kept.",
        "coala_jax/preparation/exclusion.py",
        "    kept = [sound for sound, found in zip(listed, matches, strict=True) if not found]\n",
        "    kept = list(listed)\n",
        _tests(
            "unit/preparation/test_exclusion",
            "unit/preparation/test_run",
        ),
    ),
    Fault(
        "copies_on_both_sides",
        "The same sound under two names may be trained on and validated on.",
        "coala_jax/preparation/plan.py",
        "join_copies(\n        [sound.group for sound in tagged], "
        "[contents[sound.file] for sound in tagged]\n    )",
        "[sound.group for sound in tagged]",
        _tests("unit/preparation/test_plan", "unit/preparation/test_run"),
    ),
    Fault(
        "failed_sound_shifts_the_next",
        "After a sound that could not be decoded, every sound has the patches of another.",
        "coala_jax/preparation/shards.py",
        "zip(rest, self._extract_all(rest), strict=True)",
        "zip(rest, sorted(self._extract_all(rest), key=lambda r: bool(r.error)), strict=True)",
        _tests(
            "unit/preparation/test_plan",
            "unit/preparation/test_extract",
            "unit/preparation/test_run",
        ),
    ),
    Fault(
        "frequent_tags_kept",
        "Tags of more than 70 % of the sounds are in the vocabulary.",
        "coala_jax/tags/vocabulary.py",
        "        if count >= min_sounds and count / len(tag_sets) <= max_document_fraction\n",
        "        if count >= min_sounds\n",
        _tests("unit/tags/test_vocabulary", "unit/preparation/test_run"),
    ),
    Fault(
        "ties_by_first_sound",
        "Among equally frequent tags the one that is met first comes first in the vocabulary.",
        "coala_jax/tags/vocabulary.py",
        "    most_frequent = sorted(kept, key=lambda tag: (-kept[tag], tag))[:size]\n",
        "    most_frequent = sorted(kept, key=lambda tag: -kept[tag])[:size]\n",
        _tests("unit/tags/test_vocabulary", "unit/preparation/test_run"),
    ),
)

_SPLIT = (
    Fault(
        "groups_parted",
        "Sounds of one group are split between training and validation.",
        "coala_jax/preparation/split.py",
        "    group_of = np.array([places[group] for group in groups])\n",
        "    group_of = np.arange(len(groups))\n",
        _tests("unit/preparation/test_split", "unit/preparation/test_run"),
    ),
    Fault(
        "split_by_row_order",
        "The split depends on the order of the sounds.",
        "coala_jax/preparation/split.py",
        "enumerate(sorted(set(groups)))",
        "enumerate(dict.fromkeys(groups))",
        _tests("unit/preparation/test_split", "unit/preparation/test_run"),
    ),
    Fault(
        "fraction_rounded_up",
        "Validation has the fraction of the sounds rounded up, not to the nearest.",
        "coala_jax/preparation/split.py",
        "round(fraction * len(groups))",
        "math.ceil(fraction * len(groups))",
        _tests("unit/preparation/test_split", "unit/preparation/test_run"),
    ),
    Fault(
        "tag_lost_from_training",
        "Validation takes the last group that training had of a tag.",
        "coala_jax/preparation/split.py",
        "self._to_train[tag] > 1 or (may_lose_tags and self._groups_of_tag[tag] == 1)",
        "self._to_train[tag] > 0",
        _tests("unit/preparation/test_split", "unit/preparation/test_run"),
    ),
    Fault(
        "most_frequent_tag_first",
        "Stratification places the sounds of the most frequent tag first, not of the rarest.",
        "coala_jax/preparation/split.py",
        "            tag = int(np.where(left > 0, left, self._sounds + 1).argmin())\n",
        "            tag = int(left.argmax())\n",
        _tests("unit/preparation/test_split", "unit/preparation/test_run"),
    ),
)

FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "losses": _LOSSES,
    "parallel": _PARALLEL,
    "pipeline": _PIPELINE,
    "scaler": _SCALER,
    "plan": _PLAN,
    "split": _SPLIT,
}
