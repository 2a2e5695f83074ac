"""Damages the files of a tiny project one at a time, and counts what the package makes of it.

    python -m benchmarks.damage --damages=10000 --seed=0 --out=damage.jsonl      # some hours
    python -m benchmarks.damage --damages=10000 --seed=0 --out=damage.jsonl --minutes=10

A damage flips a bit, cuts a file or deletes it, in a dataset, a checkpoint, a model, the records of
a run, or an index of sounds. Each is then read as the commands read it:

* found: refused by a sentence that names the file or its folder;
* unnamed: refused by a sentence that names neither;
* harmless: read as before, bit for bit;
* silent: read, and something is another;
* traceback: an error that no command turns into a sentence, or an answer that does not come.

Started again with the same --out it goes on with the damages that are not there yet. The last line
is a JSON object.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.damage_targets import TARGETS, Target, build
from benchmarks.measure import BenchmarkError, say
from benchmarks.result import finish
from coala_jax.flags import Parser, at_least, run

PROGRAM = "benchmarks.damage"
VERDICTS = ("found", "unnamed", "harmless", "silent", "traceback")
KINDS = ("flip", "cut", "delete")
_SHARES = (0.7, 0.25, 0.05)  # of the kinds: there are few files to delete
_PATIENCE_S = 60  # for an answer

Trial = dict[str, Any]


class Damage(NamedTuple):
    """One damage.

    place: the bit that is flipped, or the bytes that are left.
    """

    target: Target
    file: Path
    kind: str
    place: int


def draw(targets: Sequence[Target], seed: int, number: int) -> Damage:
    """The damage of this number; the targets take turns."""
    rng = np.random.default_rng((seed, number))
    target = targets[number % len(targets)]
    files = sorted(path for path in target.folder.rglob("*") if path.is_file())
    files = [path for path in files if path.stat().st_size and target.reads(path)]
    file = files[rng.integers(len(files))]
    kind = str(rng.choice(KINDS, p=_SHARES))
    size = file.stat().st_size
    return Damage(target, file, kind, int(rng.integers(8 * size if kind == "flip" else size)))


@contextlib.contextmanager
def done_to(damage: Damage) -> Iterator[None]:
    """The damage on the disk, until the end of the block."""
    whole, times = damage.file.read_bytes(), damage.file.stat()
    try:
        if damage.kind == "delete":
            damage.file.unlink()
        else:
            content = bytearray(whole)
            if damage.kind == "flip":
                content[damage.place // 8] ^= 1 << damage.place % 8
            else:
                del content[damage.place :]
            damage.file.write_bytes(content)
        yield
    finally:
        damage.file.parent.mkdir(parents=True, exist_ok=True)
        damage.file.write_bytes(whole)
        os.utime(damage.file, ns=(times.st_atime_ns, times.st_mtime_ns))


def judge(damage: Damage, wanted: str) -> tuple[str, str]:
    """The verdict, and what was said."""
    try:
        with done_to(damage), _patience():
            found = damage.target.read()
    except (ValueError, RuntimeError, OSError) as error:  # which commands print as one line
        said = str(error)
        names = (damage.file.name, str(damage.target.folder))
        return ("found" if any(name in said for name in names) else "unnamed"), said
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        return "traceback", repr(error)
    return ("harmless" if found == wanted else "silent"), ""


class NoAnswer(BaseException):
    """No Exception, as Python's own: nothing may take it for a sentence."""


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise NoAnswer(f"none within {_PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(_PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_trials(
    targets: Sequence[Target], damages: int, seed: int, out: Path | None, minutes: float
) -> dict[int, Trial]:
    """The trials by number, those of earlier starts included.

    Raises:
        BenchmarkError: the undamaged files are not read alike twice.
    """
    wanted = {}
    for target in targets:
        wanted[target.name] = target.read()
        if target.read() != wanted[target.name]:
            raise BenchmarkError(f"{target.name}: read twice, it is not the same")
    trials, ends = read_trials(out, seed), time.monotonic() + 60 * minutes
    for number in range(damages):
        if number in trials:
            continue
        if time.monotonic() > ends:
            break
        damage = draw(targets, seed, number)
        began, computed = time.perf_counter(), time.process_time()
        verdict, said = judge(damage, wanted[damage.target.name])
        trials[number] = {
            "number": number,
            "seed": seed,
            "target": damage.target.name,
            "file": damage.file.relative_to(damage.target.folder).as_posix(),
            "kind": damage.kind,
            "place": damage.place,
            "verdict": verdict,
            "said": said[:300],
            "seconds": round(time.perf_counter() - began, 4),
            "cpu_seconds": round(time.process_time() - computed, 4),
        }
        if out is not None:
            with out.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(trials[number]) + "\n")
        if verdict in ("silent", "traceback", "unnamed"):
            say(f"{verdict}: {json.dumps(trials[number])}")
    return trials


def read_trials(out: Path | None, seed: int) -> dict[int, Trial]:
    """The trials of earlier starts; a last line that was cut is left out.

    Raises:
        BenchmarkError: they are of another seed.
    """
    if out is None or not out.exists():
        return {}
    content = out.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    out.write_bytes(whole)
    trials = [json.loads(line) for line in whole.splitlines()]
    if any(trial["seed"] != seed for trial in trials):
        raise BenchmarkError(f"{out}: results of another seed. Fix: another --out")
    return {trial["number"]: trial for trial in trials}


def summary(trials: dict[int, Trial]) -> dict[str, Any]:
    """The counts by target and verdict, and which files are damaged in silence."""
    counts: dict[str, Counter[str]] = {}
    for trial in trials.values():
        counts.setdefault(trial["target"], Counter())[trial["verdict"]] += 1
    seconds, cpu_seconds = (
        max(sum(trial[name] for trial in trials.values()), 1e-9)
        for name in ("seconds", "cpu_seconds")
    )
    silent = Counter(
        f"{trial['target']}/{trial['file']}"
        for trial in trials.values()
        if trial["verdict"] == "silent"
    )
    return {
        "damages": len(trials),
        "per_minute": round(60 * len(trials) / seconds),
        "per_cpu_minute": round(60 * len(trials) / cpu_seconds),
        "verdicts": {
            name: {verdict: found[verdict] for verdict in VERDICTS}
            for name, found in sorted(counts.items())
        },
        "silent_files": dict(silent.most_common(20)),
    }


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    flags.add_argument("--damages", type=at_least(1), default=1_000, help="how many (1000)")
    flags.add_argument("--seed", type=int, default=0, help="seed of what is damaged, and how (0)")
    flags.add_argument("--minutes", type=float, default=1e9, help="after which it stops (none)")
    flags.add_argument("--only", nargs="+", choices=TARGETS, help="targets to damage (all)")
    flags.add_argument("--out", type=Path, metavar="FILE", help="JSON lines, kept as they come")
    return flags


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code: 0 if nothing was silent and no traceback came."""
    flags = parser().parse_args(argv)

    def work() -> int:
        with tempfile.TemporaryDirectory(prefix="damage-") as folder:
            targets = build(Path(folder).resolve(), flags.only)
            trials = run_trials(targets, flags.damages, flags.seed, flags.out, flags.minutes)
        figures = summary(trials)
        finish("damage", figures, argv)
        bad = [found[name] for found in figures["verdicts"].values() for name in VERDICTS[3:]]
        return 1 if any(bad) else 0

    return run(PROGRAM, work, "with --out, run it again; it goes on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
