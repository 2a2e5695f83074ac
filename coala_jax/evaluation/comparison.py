"""Models side by side on one task: vectors of its clips, classifiers on them, their accuracies.

Vectors are cached by model and file, predictions by all that they follow from, so that a stopped
evaluation resumes, and adding a model computes that model only.
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
from coala_jax.evaluation.vector_table import VectorTable

_NAMED = 20  # files in an error's message

# head -> (train, classes, test, class_count, seeds) -> predicted classes
HEADS: dict[str, Callable[..., Int32[np.ndarray, "seed clip"]]] = {
    "mlp": probe.mlp,
    "logistic_regression": classifiers.logistic_regression,
    "svm": classifiers.svm,
}
HEAD_MODULES = (classifiers.__name__, probe.__name__)


@dataclass(frozen=True)
class EvaluationSettings:
    """What is done alike with every task and model.

    Attributes:
        heads: of `HEADS`.
        seeds: of the heads; each is a training of its own.
        policy: of clips that do not fill a patch; of `embedding.pooling.POLICIES`.
        allow_missing: leave out clips that cannot be read.
        seed: of all draws but the heads': NSynth's clips, bootstrap, permutations, maps.
    """

    heads: tuple[str, ...] = ("mlp",)
    seeds: tuple[int, ...] = tuple(range(10))
    policy: str = "paper"
    allow_missing: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TaskResult:
    """Every model and head on one task.

    Attributes:
        task: without the clips that could not be read.
        vectors: by the model's name, of the task's clips.
        data_digest: SHA-256 over the clips' bytes, classes and folds.
    """

    task: Task
    outcomes: list[ProbeResult]
    vectors: Mapping[str, Float32[np.ndarray, "clip dimension"]]
    data_digest: str


def evaluate_task(
    task: Task,
    evaluators: Sequence[Evaluator | VectorTable],
    settings: EvaluationSettings,
    work: Path,
) -> TaskResult:
    """Embeds the task's clips by each evaluator, and trains each head on each.

    Args:
        work: folder in which vectors and predictions are cached.

    Raises:
        TaskError: clips cannot be decoded; it lists them. With `allow_missing` only where too few
            are left.
        ValueError: a table of vectors lacks one.
    """
    files = [clip.file for clip in task.clips]
    extracted = extract(task.root, files, evaluators, settings.policy, work / "vectors")
    if extracted.failures and not settings.allow_missing:
        raise TaskError(_describe_failures(task, extracted.failures))
    task = task.without(extracted.failures.keys())  # its clips are now those of `extracted.files`
    task = replace(task, remarks=task.remarks + _copies(task, extracted.digests))
    classes, outcomes = task.classes, []
    steps = [(head, evaluator.name) for head in settings.heads for evaluator in evaluators]
    with tqdm(steps, desc=f"{task.name}: classifiers", unit="model") as progress:
        for head, name in progress:
            progress.set_postfix_str(f"{head} on {name}")
            vectors, folds = extracted.vectors[name], []
            for fold in task.folds:
                data = vectors[fold.train], classes[fold.train], vectors[fold.test]
                predicted = _predict(head, data, len(task.labels), settings.seeds, work)
                folds.append((classes[fold.test], predicted))
            outcomes.append(ProbeResult.measure(task.name, name, head, len(task.labels), folds))
    content = {
        "clips": [[clip.file, clip.label, extracted.digests[clip.file]] for clip in task.clips],
        "rounds": [[r.name, r.train.tolist(), r.test.tolist()] for r in task.folds],
    }
    return TaskResult(task, outcomes, extracted.vectors, storage.fingerprint(content))


def majority(task: Task) -> float:
    """The accuracy of answering the most frequent training class, mean over the folds."""
    classes = task.classes
    most = [np.bincount(classes[fold.train]).argmax() for fold in task.folds]
    pairs = zip(task.folds, most, strict=True)
    return float(np.mean([(classes[fold.test] == answer).mean() for fold, answer in pairs]))


def _predict(
    head: str,
    data: tuple[Float32[np.ndarray, "..."], Int64[np.ndarray, "..."], Float32[np.ndarray, "..."]],
    class_count: int,
    seeds: Sequence[int],
    work: Path,
) -> Int32[np.ndarray, "seed clip"]:
    """The cached predictions, or new ones, which are then cached."""
    arrays = [[str(a.dtype), list(a.shape), storage.sha256(a.tobytes())] for a in data]
    key = cache.key([head, class_count, list(seeds), arrays], *HEAD_MODULES)
    return cache.cached(
        work / "predictions", key, lambda: {"predicted": HEADS[head](*data, class_count, seeds)}
    )["predicted"]


def _copies(task: Task, digests: Mapping[str, str]) -> tuple[str, ...]:
    """A remark on test clips that a classifier was trained on under another name."""
    contents = np.array([digests[clip.file] for clip in task.clips])
    found = [fold.test[np.isin(contents[fold.test], contents[fold.train])] for fold in task.folds]
    files = [task.clips[place].file for place in np.unique(np.concatenate(found))]
    if not files:
        return ()
    named = ", ".join(files[:5]) + (" …" if len(files) > 5 else "")
    return (
        f"{len(files)} test clips are byte for byte equal to training clips of the same fold, "
        f"which makes them easy: {named}",
    )


def _describe_failures(task: Task, failures: Mapping[str, str]) -> str:
    lines = [f"\n  {file}: {cause}" for file, cause in list(failures.items())[:_NAMED]]
    more = f"\n  and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    return (
        f"{task.root}: {len(failures)} of {len(task.clips)} clips cannot be read. Fix: repair "
        f"them, or leave them out with --allow_missing:{''.join(lines)}{more}"
    )
