"""WavPack by programs that stand in for the real ones, and by the real ones where they are."""

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from coala_jax.audio import errors, wavpack
from coala_jax.audio.decode import load

RATE_HZ = 8_000
RAMP = np.arange(-16_000, 16_000, 1_000) / 2**15  # 32 samples
# RAMP as 16 bit integers at 8 kHz, written by wavpack 5.6.0.
WAVPACK = base64.b85decode(
    "cXn`VxBvhE5Ci}KAOHXW00000AOHXW1sSXm&$jL{XaaX(b^sw3Qb|TeWB>pFS3y=qW^HsJ5C8xG0RRC2Kpy}AfIa{K"
    "0ss&IWMOn+KmY&$0tHuBS4KxjN=8;m0|f^N2nPoS1P2HO1Ool@_wxk<Rt}>L&<+U#00RI3WdaBQ001fgiWdL?pLo0d"
    "M67Qii7T~*SN5YjnOvfh3B?H<!3SB&anVum3JvkN7yYUbh*ShajsGtKw58Fp"
)
EXPECTED = {
    "wvunpack": "-q|-w|-o|-|{path}",
    "ffmpeg": "-nostdin|-v|error|-xerror|-err_detect|crccheck+explode|-i|file:{path}"
    "|-c:a|pcm_f32le|-f|wav|-",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH."""
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return tmp_path / "programs"


def pretend(program: Path, wav: Path | None, complaint: str = "", status: int = 0) -> None:
    """A program that notes its arguments, one a line, and writes a WAV file to its output."""
    cat = f"/bin/cat '{wav}'" if wav else ""
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{program}.arguments'\n{cat}\n"
        f"echo '{complaint}' >&2\nexit {status}\n"
    )
    program.chmod(0o755)


def ramp(folder: Path) -> Path:
    soundfile.write(folder / "ramp.wav", RAMP, RATE_HZ, "PCM_16")
    return folder / "ramp.wav"


@pytest.mark.parametrize("program", EXPECTED)
def test_the_program_gets_the_path_and_its_wav_is_decoded(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    pretend(programs / program, ramp(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = Path("-o {x} ü.flac")  # WavPack by its content
    path.write_bytes(WAVPACK)
    np.testing.assert_allclose(load(path, RATE_HZ), RAMP, atol=4e-5, rtol=0)
    arguments = (programs / f"{program}.arguments").read_text().splitlines()
    expected = EXPECTED[program].replace("{path}", str(tmp_path / path))
    assert arguments == expected.split("|")


def test_wvunpack_comes_first(tmp_path: Path, programs: Path) -> None:
    pretend(programs / "wvunpack", ramp(tmp_path))
    pretend(programs / "ffmpeg", None, status=1)
    (tmp_path / "a.wv").write_bytes(WAVPACK)
    assert load(tmp_path / "a.wv", RATE_HZ).size == 32
    assert not (programs / "ffmpeg.arguments").exists()


def test_without_a_program(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "a.wv").write_bytes(WAVPACK)
    assert wavpack.to_wav(tmp_path / "a.wv") is None
    with pytest.raises(errors.MissingDecoderError, match=r"a\.wv.*wvunpack"):
        load(tmp_path / "a.wv", RATE_HZ)


@pytest.mark.parametrize(
    ("samples", "error"),
    [(0, errors.UnreadableError), (32, errors.UnreadableError), (16, errors.TruncatedError)],
)
def test_what_the_program_complains_of(
    tmp_path: Path, programs: Path, samples: int, error: type[errors.DecodeError]
) -> None:
    """Nothing, all samples, or fewer than the header promises."""
    (tmp_path / "a.wv").write_bytes(WAVPACK)
    soundfile.write(tmp_path / "some.wav", RAMP[:samples], RATE_HZ, "PCM_16")
    wav = tmp_path / "some.wav" if samples else None
    pretend(programs / "wvunpack", wav, "crc errors", 1)
    with pytest.raises(error, match=r"a\.wv"):
        load(tmp_path / "a.wv", RATE_HZ)
    (tmp_path / "a.wv").write_bytes(WAVPACK[:32])
    with pytest.raises(errors.DecodeError, match=r"a\.wv"):
        load(tmp_path / "a.wv", RATE_HZ)


@pytest.mark.parametrize("program", EXPECTED)
def test_the_real_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    monkeypatch.setattr(wavpack, "_PROGRAMS", {program: wavpack._PROGRAMS[program]})
    (tmp_path / "a.wv").write_bytes(WAVPACK)
    np.testing.assert_array_equal(load(tmp_path / "a.wv", RATE_HZ), RAMP.astype(np.float32))
    damaged = bytearray(WAVPACK)
    damaged[-20] ^= 255
    (tmp_path / "a.wv").write_bytes(damaged)
    with pytest.raises(errors.DecodeError):
        load(tmp_path / "a.wv", RATE_HZ)
