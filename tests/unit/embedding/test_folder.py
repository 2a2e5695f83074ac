"""Paths in a folder of sounds that no table can hold, or that cannot be looked at."""

import os
from pathlib import Path

import pytest

from coala_jax.embedding.folder import find_sounds

FOREIGN = b"b\xe9b\xe9.wav"  # Latin-1


def test_a_name_in_another_encoding_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name in (b"a.wav", FOREIGN):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"RIFF")  # noqa: PTH118
    found = find_sounds(tmp_path)
    assert list(found.files) == ["a.wav"]
    assert found.errors == {r"b\xe9b\xe9.wav": "its name is not in UTF-8. Fix: rename it"}
    found = find_sounds(tmp_path, any_name=True)
    assert (list(found.files), found.errors) == (["a.wav", os.fsdecode(FOREIGN)], {})


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_sounds(tmp_path)
    assert (list(found.files), found.errors) == (["a.wav"], {"closed": "Permission denied"})
    with pytest.raises(ValueError, match=r"closed: cannot be read \(Permission denied\)"):
        find_sounds(tmp_path / "closed")
