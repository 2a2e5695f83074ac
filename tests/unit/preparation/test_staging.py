"""What a killed run left of a shard and its journal, and how much of it is believed."""

import os
import time
from pathlib import Path

import pytest

from coala_jax.data.tfrecord import DatasetError, ShardWriter
from coala_jax.preparation.extract import ExtractionResult
from coala_jax.preparation.staging import Journal, Written, discard_staging, staging_directory
from coala_jax.preparation.table import Sound
from tests.damage import flipped, truncated

SOUNDS = [Sound(f"{n}.wav", (), "") for n in range(5)]
FRAMES = [(0,), (), (12, 24), (0,), (0,)]  # the second failed


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "journal")
    with journal.append_after(SOUNDS, []), ShardWriter(tmp_path / "shard") as shard:
        for sound, frames in zip(SOUNDS, FRAMES, strict=True):
            for frame in frames:
                shard.write(f"{sound.file} {frame}".encode())
            shard.flush()
            error = "" if frames else "Truncated"
            result = ExtractionResult(frames, 0.1 * len(frames), "digest", error, "why")
            journal.append(sound, Written(result, shard.size))
    return tmp_path / "shard"


def recovered(shard: Path) -> list[Written]:
    return Journal(shard.with_name("journal")).recover(SOUNDS, shard)


def test_what_was_written_is_recovered(shard: Path) -> None:
    found = recovered(shard)
    assert [written.result.frames for written in found] == FRAMES
    assert [written.result.seconds for written in found] == [0.1, 0, 0.2, 0.1, 0.1]
    assert found[1].result.error == "Truncated"
    assert found[-1].shard_bytes == shard.stat().st_size


def test_of_a_damaged_shard_the_whole_sounds_are_recovered(shard: Path) -> None:
    ends = [written.shard_bytes for written in recovered(shard)]
    for size in truncated(shard, range(ends[-1])):
        assert len(recovered(shard)) == sum(end <= size for end in ends)
    for bit in flipped(shard, range(0, 8 * ends[-1], 5)):
        assert len(recovered(shard)) == sum(end <= bit // 8 for end in ends)


def test_a_journal_of_other_sounds_or_without_its_shard_is_not_believed(shard: Path) -> None:
    journal = Journal(shard.with_name("journal"))
    assert len(journal.recover([SOUNDS[0], *SOUNDS[2:]], shard)) == 1
    content = shard.read_bytes()
    shard.unlink()
    assert recovered(shard) == []
    shard.write_bytes(content)
    shard.with_name("journal").unlink()
    assert recovered(shard) == []


def test_of_a_truncated_journal_the_whole_lines_are_recovered(shard: Path) -> None:
    journal = shard.with_name("journal")
    content = journal.read_bytes()
    for size in truncated(journal, range(len(content))):
        assert len(recovered(shard)) == content[:size].count(b"\n")


def test_what_is_appended_after_a_part_of_it_replaces_the_rest(shard: Path) -> None:
    whole = shard.with_name("journal").read_bytes()
    kept = recovered(shard)[:3]
    journal = Journal(shard.with_name("journal"))
    with journal.append_after(SOUNDS, kept):
        assert shard.with_name("journal").read_bytes() == b"".join(whole.splitlines(True)[:3])
        assert len(recovered(shard)) == 3


def test_a_folder_of_the_user_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "out.work").mkdir()
    (tmp_path / "out.work" / "thesis.txt").write_text("keep me")
    with (
        pytest.raises(DatasetError, match=str(tmp_path / "out.work")),
        staging_directory(tmp_path / "out", "any"),
    ):
        pass
    assert (tmp_path / "out.work" / "thesis.txt").read_text() == "keep me"


def test_two_processes_do_not_make_one_dataset(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        staging_directory(out, "any"),
        pytest.raises(DatasetError, match=str(out)),
        staging_directory(out, "any"),
    ):
        pass


def test_what_was_staged_is_kept_for_the_same_fingerprint_alone(tmp_path: Path) -> None:
    for fingerprint, kept in (("a", False), ("a", True), ("b", False)):
        with staging_directory(tmp_path / "out", fingerprint) as staging:
            assert (staging / "dataset").exists() == kept
            (staging / "dataset").mkdir(exist_ok=True)


def test_what_a_run_leaves_that_is_killed_before_the_stamp_is_no_obstacle(tmp_path: Path) -> None:
    out, staging = tmp_path / "out", tmp_path / "out.work"
    staging.mkdir()
    for name in ("lock", "fingerprint.0123abcd.tmp", "a.jsonl.0123abcd.tmp"):
        (staging / name).touch()
    with pytest.raises(DatasetError, match="something else"), staging_directory(out, "f"):
        pass
    (staging / "a.jsonl.0123abcd.tmp").unlink()
    with staging_directory(out, "f"):
        assert sorted(path.name for path in staging.iterdir()) == ["fingerprint", "lock"]
    (staging / "a.jsonl.0123abcd.tmp").touch()
    with staging_directory(out, "f"):
        assert sorted(path.name for path in staging.iterdir()) == ["fingerprint", "lock"]


def test_a_finished_dataset_is_rid_of_what_nobody_is_writing_any_more(tmp_path: Path) -> None:
    for name, age in (("report.md.0123abcd.tmp", 90), ("report.md.76543210.tmp", 0), ("a.tmp", 90)):
        (tmp_path / name).touch()
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    discard_staging(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tmp", "report.md.76543210.tmp"]
