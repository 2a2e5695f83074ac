"""Models side by side on one task: vectors of its clips, classifiers on them, their figures.

Vectors are cached by model and file, predictions by all that they follow from, so that a comparison
that was stopped goes on, and one more model costs that model alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, Int64
from tqdm import tqdm

from coala_jax import storage
from coala_jax.evaluation import cache, classifiers, probe
from coala_jax.evaluation.evaluators import Evaluator
from coala_jax.evaluation.features import extract
from coala_jax.evaluation.probe_result import ProbeResult
from coala_jax.evaluation.tasks import Task, TaskError

_NAMED = 20  # files in an error's message

# head -> (train, classes, test, class_count, seeds) -> predicted classes
HEADS: dict[str, Callable[..., Int32[np.ndarray, "seed clip"]]] = {
    "mlp": probe.mlp,
    "logistic_regression": classifiers.logistic_regression,
    "svm": classifiers.svm,
}
HEAD_MODULES = (classifiers.__name__, probe.__name__)


@dataclass(frozen=True)
class Settings:
    """What a comparison does with every task.

    Attributes:
        heads: of HEADS.
        seeds: of the heads; each is a training of its own.
        policy: what becomes of clips that fill no patch; of `embedding.clips.POLICIES`.
        level: how loud clips are heard; of `audio.decode.LEVELS`.
        allow_missing: go on without clips that cannot be read.
    """

    heads: tuple[str, ...] = ("mlp",)
    seeds: tuple[int, ...] = tuple(range(10))
    policy: str = "paper"
    level: str = "recorded"
    allow_missing: bool = False


@dataclass(frozen=True, eq=False)
class Compared:
    """What a comparison on one task found.

    Attributes:
        task: without what could not be read.
        vectors: by the model's name, of the task's clips.
        data_digest: SHA-256 over the clips' bytes, classes and rounds.
    """

    task: Task
    outcomes: list[ProbeResult]
    vectors: Mapping[str, Float32[np.ndarray, "clip dimension"]]
    data_digest: str


def compare(
    task: Task, evaluators: Sequence[Evaluator], settings: Settings, work: Path
) -> Compared:
    """Embeds the task's clips by each evaluator, and trains each head on each.

    `work` keeps what was computed.

    Raises:
        TaskError: clips cannot be decoded; it lists them. With `allow_missing` only where too few
            are left.
    """
    files = [clip.file for clip in task.clips]
    extracted = extract(
        task.root, files, evaluators, settings.policy, work / "vectors", level=settings.level
    )
    if extracted.failures and not settings.allow_missing:
        raise TaskError(_unreadable(task, extracted.failures))
    task = task.without(extracted.failures.keys())  # its clips are now those of `extracted.files`
    task = replace(task, remarks=task.remarks + _copies(task, extracted.digests))
    outcomes = []
    steps = [(head, evaluator.name) for head in settings.heads for evaluator in evaluators]
    with tqdm(steps, desc=f"{task.name}: classifiers", unit="model") as progress:
        for head, name in progress:
            progress.set_postfix_str(f"{head} on {name}")
            outcomes.append(_outcome(task, name, extracted.vectors[name], head, settings, work))
    return Compared(task, outcomes, extracted.vectors, _data_digest(task, extracted.digests))


def majority(task: Task) -> float:
    """The accuracy of answering the most frequent training class, mean over the rounds."""
    classes, shares = task.classes, []
    for part in task.folds:
        most = np.bincount(classes[part.train]).argmax()
        shares.append(float((classes[part.test] == most).mean()))
    return float(np.mean(shares))


def _outcome(
    task: Task,
    name: str,
    vectors: Float32[np.ndarray, "clip dimension"],
    head: str,
    settings: Settings,
    work: Path,
) -> ProbeResult:
    classes, rounds = task.classes, []
    for part in task.folds:
        predicted = _predictions(
            head,
            (vectors[part.train], classes[part.train], vectors[part.test]),
            len(task.labels),
            settings.seeds,
            work / "predictions",
        )
        rounds.append((classes[part.test], predicted))
    return ProbeResult.measure(task.name, name, head, task.labels, rounds)


def _predictions(
    head: str,
    data: tuple[Float32[np.ndarray, "..."], Int64[np.ndarray, "..."], Float32[np.ndarray, "..."]],
    class_count: int,
    seeds: Sequence[int],
    folder: Path,
) -> Int32[np.ndarray, "seed clip"]:
    """Those that were kept, or new ones, which are kept."""
    arrays = [[str(a.dtype), list(a.shape), storage.sha256(a.tobytes())] for a in data]
    key = cache.key([head, class_count, list(seeds), arrays], *HEAD_MODULES)
    kept = cache.cached(folder, key, lambda: {"predicted": HEADS[head](*data, class_count, seeds)})
    return kept["predicted"]


def _copies(task: Task, digests: Mapping[str, str]) -> tuple[str, ...]:
    """A remark on test clips that a classifier has been trained on under another name."""
    contents = np.array([digests[clip.file] for clip in task.clips])
    found = [part.test[np.isin(contents[part.test], contents[part.train])] for part in task.folds]
    files = [task.clips[place].file for place in np.unique(np.concatenate(found))]
    if not files:
        return ()
    named = ", ".join(files[:5])
    return (
        f"{len(files)} test clips are, byte for byte, training clips of the same round under "
        f"another name, and easy to tell: {named}{' …' if len(files) > 5 else ''}",
    )


def _data_digest(task: Task, digests: Mapping[str, str]) -> str:
    content = {
        "clips": [[clip.file, clip.label, digests[clip.file]] for clip in task.clips],
        "rounds": [[r.name, r.train.tolist(), r.test.tolist()] for r in task.folds],
    }
    return storage.fingerprint(content)


def _unreadable(task: Task, failures: Mapping[str, str]) -> str:
    lines = [f"\n  {file}: {cause}" for file, cause in list(failures.items())[:_NAMED]]
    more = f"\n  and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    return (
        f"{task.root}: {len(failures)} of {len(task.clips)} clips cannot be read; repair them, or "
        f"go on without them by --allow-missing:{''.join(lines)}{more}"
    )
