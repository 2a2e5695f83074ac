"""Calling fluidsynth, and a program that stands for it."""

import pytest
from coala_jax.data_prep.sample_corpus import soundfonts
from coala_jax.data_prep.sample_corpus.corpus_folder import CorpusError


@pytest.mark.parametrize(
    ("end", "token"), [("exit 3", "code 3: no bank"), ("exec sleep 5", "0.2 s")]
)
def test_a_fluidsynth_that_fails_or_hangs_is_an_error(tmp_path, monkeypatch, end, token):
    program = tmp_path / "fluidsynth"
    program.write_text(f"#!/bin/sh\necho no bank >&2\n{end}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(soundfonts, "TIMEOUT_SECONDS", 0.2 if "sleep" in end else 60)
    with pytest.raises(CorpusError, match=token):
        soundfonts.run_fluidsynth(["a.sf2", "a.mid"])
