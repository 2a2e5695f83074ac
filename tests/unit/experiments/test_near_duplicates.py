"""Near-duplicates: what is compared at all."""

import numpy as np

from experiments import near_duplicates


def test_the_nearest_are_by_cosine_of_values_scaled_by_their_spread():
    # The second value has a spread a thousand times that of the first.
    sounds = np.array([[1, 0], [-1, 0], [0, 1000], [0, -1000]], np.float32)
    tests = np.array([[0.5, 100], [0.1, -900]], np.float32)
    assert near_duplicates.nearest(tests, sounds, 2).tolist() == [[0, 2], [3, 0]]


def test_the_record_has_a_folder_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "folder"

    def search(flags):
        assert out.is_dir()
        pairs = [[0.9, "audio/a.wav", "b.wav"]]
        return {"tasks": {"events": {"clips": 3, "pairs": pairs, "highest_below": 0.5}}}

    monkeypatch.setattr(near_duplicates, "search", search)
    flags = ["--model=m", "--corpus=c", "--task=t", f"--out={out}"]
    assert near_duplicates.main(flags) == 0
    assert (out / "near_duplicates.json").is_file()
    printed = capsys.readouterr().out
    assert printed == "events  0.900  audio/a.wav  b.wav\nevents: 1 pairs of 3 clips\n"
