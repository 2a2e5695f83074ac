"""`benchmarks.embed`: that the released steps are ours, its arithmetic, and what it refuses."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from benchmarks import embed as benchmark
from benchmarks.embed import Took, set_figures
from benchmarks.measure import BenchmarkError, ProgramRun
from coala_jax.audio.frontend import FrontEnd
from coala_jax.embedding.embedder import Embedder

pytestmark = pytest.mark.integration  # compiles whole networks, trains or measures

RATE_HZ = 22_000
# librosa.load asks audioread, which imports modules that Python 3.11 and 3.12 still have.
audioread_is_old = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")


class NoNoise:
    def random(self, size, dtype):
        return np.zeros(size, dtype)


@pytest.fixture(scope="module")
def pretrained():
    return benchmark.make_model(filters=2)


@pytest.fixture(scope="module")
def both(pretrained):
    """Ours with the released front end, without noise, and the released steps."""
    settings = dataclasses.replace(FrontEnd.released(), noise=0.0, precision="float64").to_dict()
    released = benchmark.Released(pretrained)
    released.rng = NoNoise()
    return Embedder(dataclasses.replace(pretrained, front_end=settings)), released


@audioread_is_old
def test_the_released_steps_give_our_vectors(both, tmp_path):
    ours, released = both
    assert benchmark.check_same_vectors(ours, released) < 1e-5
    time = np.arange(10 * RATE_HZ) / RATE_HZ
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, time.size)
    soundfile.write(tmp_path / "sound.wav", noise * (1 + np.sin(time)), RATE_HZ, subtype="FLOAT")
    (wanted,) = ours.embed(tmp_path / "sound.wav")
    np.testing.assert_allclose(released.embed(tmp_path / "sound.wav"), wanted, atol=1e-4)
    assert wanted.max() > 0.1


def test_encoders_that_differ_are_refused(both, pretrained):
    released = benchmark.Released(pretrained)
    released.encoder[0].bias.data += 0.01
    with pytest.raises(BenchmarkError, match="differ by"):
        benchmark.check_same_vectors(both[0], released)


def test_figures_are_medians_of_rounds(monkeypatch):
    monkeypatch.setattr(benchmark, "cores", lambda: 2)
    rounds = {
        "ours": [Took(2, 4), Took(4, 5), Took(3, 5)],
        "released": [Took(6, 8), Took(8, 15), Took(15, 20)],
        "front_end": [Took(1, 2), Took(2, 2), Took(1, 2)],
        "encoder": [Took(0.5, 1), Took(1, 1), Took(1, 1)],
    }
    figures = set_figures(rounds, seconds_of_sound=600)
    assert figures["times_real_time"] == 200
    assert figures["ratio_to_released"] == 3  # of 3, 2 and 5
    assert figures["limit_times_real_time"] == 300
    assert figures["share_of_limit"] == 0.75  # of 0.75, 0.75 and 2/3
    assert figures["times_real_time_if_all_cores_were_ours"] == 240
    assert figures["ratio_to_released_by_processor_time"] == 3


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "mine/audio").mkdir(parents=True)
    rows = ["file,tags"]
    for number in range(21):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 2_000)
        soundfile.write(tmp_path / f"mine/audio/{number}.wav", noise, RATE_HZ)
        rows.append(f"{number}.wav,dog")
    (tmp_path / "mine/sounds.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "mine"


@audioread_is_old
def test_the_whole_at_a_small_size(corpus, tmp_path, capsys, monkeypatch):
    def measure(command, log):
        said = "360 sounds, 60.0 minutes of sound, in 3.6 s: 1000 times real time\n"
        log.write_text(said + ('{"import_s": 1.5}' if "--start" in command else ""))
        return ProgramRun(5.0, 7.0, 300.0)

    monkeypatch.setattr(benchmark, "measure", measure)
    flags = [f"--corpus_folder={corpus}", "--clips=1", "--rounds=1", "--filters=2", "--workers=1"]
    assert benchmark.main([*flags, f"--out={tmp_path / 'out'}"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["sets"].keys() == {"wav", "flac", "ogg", "mp3", "corpus"}
    assert [one["patches"] for one in result["sets"].values()] == [4, 4, 4, 4, 1]
    assert all(one["ratio_to_released"] > 0 for one in result["sets"].values())
    assert result["coala_embed"]["times_real_time"] == 1000
    assert result["start"]["of_which"] == {"import_s": 1.5}
    (path,) = (tmp_path / "out").iterdir()
    assert json.loads(path.read_text()) == result
