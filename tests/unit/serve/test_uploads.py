"""Sounds that are given: what is taken of them, and what is refused in bounded time and memory."""

import threading
import time

import numpy as np
import pytest
import soundfile

from coala_jax.serve import uploads as uploads_module
from coala_jax.serve.errors import BusyError, NotFoundError, UnreadableSoundError
from coala_jax.serve.uploads import Uploads
from tests.served import RATE_HZ, BandEmbedder, tone


@pytest.fixture
def uploads():
    found = Uploads(BandEmbedder)
    found.start()
    yield found
    found.close()


def give(uploads, file, name="dog.wav"):
    return uploads.submit(file, name).result(timeout=60)


def test_a_sound_is_kept_by_its_embedding(uploads, tmp_path):
    file = tmp_path / "sound"
    soundfile.write(file, tone(2), RATE_HZ, format="FLAC")
    found = give(uploads, file)
    assert (found["path"], found["seconds"]) == ("dog.wav", 0.4)
    assert found["tags"][0] == ("middle", pytest.approx(1, abs=0.01)) and len(found["tags"]) == 5
    assert uploads.state() == {"state": "ready", "error": ""} and uploads.knows(found["key"])
    name, embedding = uploads.get(found["key"])
    assert name == "dog.wav" and int(embedding.argmax()) == 2


def test_a_minute_of_a_sound_is_heard_and_no_more_decoded(uploads, tmp_path, monkeypatch):
    file, decoded, heard = tmp_path / "sound", [], []
    soundfile.write(file, np.zeros(20 * 60 * 1000, np.float32), 1000, format="FLAC")
    stream, levels = uploads_module.decode.stream, BandEmbedder.levels

    def counted(*args):
        for block in stream(*args):
            decoded.append(block.size)
            yield block

    monkeypatch.setattr(uploads_module.decode, "stream", counted)
    monkeypatch.setattr(
        BandEmbedder, "levels", lambda self, wave: heard.append(wave.size) or levels(self, wave)
    )
    assert give(uploads, file)["seconds"] == 60
    assert heard[-1] == 60 * RATE_HZ <= sum(decoded) < 5 * 60 * RATE_HZ  # a block of the file's


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0" * 1000, "libsndfile cannot read it"),
        (b"<html><script>alert(1)</script></html>", "it holds an HTML page, no sound"),
        (b"RIFF" + bytes(range(40)), "libsndfile cannot read it"),
        (b"wvpk" + bytes(100), "WavPack is not taken here. Fix: convert it to flac"),
        (b"fLaC" + b"\xff" * 5000, ""),
        (b"ID3" + b"\x7f" * 3000, ""),
        (b"OggS" + bytes(range(256)) * 9, ""),
    ],
)
def test_what_is_no_sound_is_named_by_its_own_name(uploads, tmp_path, content, said):
    file = tmp_path / "sound"
    file.write_bytes(content)
    with pytest.raises(UnreadableSoundError) as refused:
        give(uploads, file)
    assert str(refused.value).startswith("dog.wav: ") and said in str(refused.value)
    assert str(tmp_path) not in str(refused.value) and "Fix: " in str(refused.value)


def test_decoding_is_given_up_after_a_while(uploads, tmp_path, monkeypatch):
    def stream(file, rate):
        while True:
            yield np.zeros(1, np.float32)

    (tmp_path / "sound").write_bytes(b"any")
    monkeypatch.setattr(uploads_module.decode, "stream", stream)
    monkeypatch.setattr(uploads_module, "_DECODE_SECONDS", 0.05)
    with pytest.raises(UnreadableSoundError, match=r"decoding takes longer than 0\.05 s\. Fix: "):
        give(uploads, tmp_path / "sound")


def test_the_last_few_are_kept(uploads, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads_module, "_MOST_KEPT", 2)
    soundfile.write(tmp_path / "sound", tone(1), RATE_HZ, format="WAV")
    first, second = (give(uploads, tmp_path / "sound")["key"] for _ in range(2))
    uploads.get(first)  # so that the second is the one used longest ago
    third = give(uploads, tmp_path / "sound")["key"]
    assert len({first, second, third}) == 3
    assert uploads.get(first) and uploads.get(third)
    with pytest.raises(NotFoundError, match=r"no longer kept here\. Fix: drop it once more"):
        uploads.get(second)


def test_few_are_taken_at_a_time(uploads):
    with uploads.place(), uploads.place(), uploads.place():
        with uploads.place(), pytest.raises(BusyError, match="4 sounds are being read"):
            uploads.place().__enter__()
        uploads.place().__enter__()


def test_one_goes_through_the_model_at_a_time(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "sound", tone(1), RATE_HZ, format="WAV")
    inside, most, lock = [], [], threading.Lock()

    class Slow(BandEmbedder):
        def describe_each(self, *args, **kwargs):
            with lock:
                inside.append(1)
                most.append(len(inside))
            time.sleep(0.01)
            yield from super().describe_each(*args, **kwargs)
            inside.pop()

    uploads = Uploads(Slow)  # which is loaded with the first sound
    for turn in [uploads.submit(tmp_path / "sound", "a") for _ in range(4)]:
        turn.result(timeout=60)
    uploads.close()
    assert max(most) == 1 and len(most) == 5


def test_without_a_model_sounds_are_refused_with_the_cause(tmp_path, caplog):
    def missing():
        raise ValueError("the index's model is no longer there. Fix: --model")

    uploads = Uploads(missing)
    assert uploads.state()["state"] == "loading"
    uploads.start()
    with pytest.raises(BusyError, match="no longer there"):
        give(uploads, tmp_path)
    assert uploads.state() == {"state": "missing", "error": f"{missing_text(missing)}"}
    with pytest.raises(BusyError, match="no longer there"):
        uploads.place().__enter__()
    assert "sounds cannot be given" in caplog.text
    uploads.close()


def missing_text(missing) -> str:
    with pytest.raises(ValueError) as raised:
        missing()
    return str(raised.value)
