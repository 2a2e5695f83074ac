import os
import subprocess

import numpy as np
import pytest

from coala_jax.training import digests
from tests.damage import flipped, truncated


@pytest.fixture
def checkpoint(tmp_path):
    """A folder like a checkpoint's, with its checksums."""
    folder = tmp_path / "7"
    (folder / "default" / "d").mkdir(parents=True)
    for number, name in enumerate(["_METADATA", "d/array", "manifest"]):
        content = np.random.default_rng(number).bytes(40)
        (folder / "default" / name).write_bytes(content)
    digests.write_digests(folder)
    return folder


def test_flipped_bits_and_cuts_are_found(checkpoint):
    assert digests.find_damage(checkpoint) == ""
    for file in [path for path in checkpoint.rglob("*") if path.is_file()]:
        name = str(file.relative_to(checkpoint.parent))
        for _ in flipped(file, range(0, 8 * file.stat().st_size, 13)):
            assert digests.find_damage(checkpoint).startswith(f"{name} is not as it was saved")
        for _ in truncated(file, [0, 39]):
            assert digests.find_damage(checkpoint).startswith(f"{name} is not as it was saved")
    assert digests.find_damage(checkpoint) == ""


def test_damaged_checksums_vouch_for_nothing(checkpoint):
    file = checkpoint.parent / "7.sha256"
    size = file.stat().st_size
    for _ in flipped(file, range(0, 8 * size, 31)):
        assert digests.find_damage(checkpoint)
    for _ in truncated(file, [0, 10, size // 2]):
        assert digests.find_damage(checkpoint)
    assert digests.find_damage(checkpoint) == ""


def test_files_that_are_missing_or_were_added_are_named(checkpoint):
    (checkpoint / "default" / "added").touch()
    assert digests.find_damage(checkpoint).startswith("7/default/added is not among")
    (checkpoint / "default" / "added").unlink()
    (checkpoint / "default" / "_METADATA").unlink()
    assert digests.find_damage(checkpoint) == "7/default/_METADATA is missing"


def test_sha256sum_reads_them(checkpoint):
    """As the documentation says."""
    command = ["sha256sum", "--check", "7.sha256"]
    environment = os.environ | {"LC_ALL": "C"}
    checked = subprocess.run(
        command, cwd=checkpoint.parent, env=environment, capture_output=True, check=True, text=True
    )
    assert checked.stdout.count(": OK") == 3


def test_checksums_of_a_checkpoint_that_is_gone_are_removed(checkpoint):
    (checkpoint.parent / "6.sha256").write_text("")
    digests.remove_orphans(checkpoint.parent)
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["7", "7.sha256"]
    assert digests.has_digests(checkpoint) and not digests.has_digests(checkpoint.parent / "6")
