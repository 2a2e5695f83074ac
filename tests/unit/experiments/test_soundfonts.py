"""Recordings that soundfonts share, in fonts that are written here."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from experiments import soundfonts
from experiments.sf2 import Recording, read_recordings

RNG = np.random.default_rng(0)


def noise(seconds: float = 0.5) -> np.ndarray:
    """Coloured noise that fades, int16 at 44.1 kHz: no two are alike."""
    white = RNG.standard_normal(round(seconds * 44_100))
    soft = np.convolve(white, np.hanning(16), mode="same")
    return np.int16(6000 * soft / np.abs(soft).max() * np.linspace(1, 0.2, len(soft)))


WAVES = {name: noise() for name in ("Piano C4", "Flute", "Drum")}


def chunk(name: bytes, content: bytes, pads: bool = True) -> bytes:
    padding = b"\0" * (len(content) % 2 if pads else 0)
    return name + len(content).to_bytes(4, "little") + content + padding


def write_font(path: Path, waves: dict[str, np.ndarray], ogg: bool = False) -> None:
    """Writes an SF2, or an SF3 whose chunks are not padded."""
    samples, headers = b"", b""
    for name, wave in waves.items():
        begin = len(samples)
        if ogg:
            file = io.BytesIO()
            soundfile.write(file, wave, 44_100, format="OGG")
            samples += file.getvalue()
            places, kind = (begin, len(samples)), 0x11
        else:
            samples += wave.astype("<i2").tobytes()
            places, kind = (begin // 2, len(samples) // 2), 1
        headers += struct.pack("<20s5IBbHH", name.encode(), *places, 0, 0, 44_100, 60, 0, 0, kind)
    headers += struct.pack("<20s5IBbHH", b"in the chip", 0, 9, 0, 0, 44_100, 60, 0, 0, 0x8001)
    headers += struct.pack("<20s5IBbHH", b"EOS", *[0] * 9)
    data = chunk(b"LIST", b"sdta" + chunk(b"smpl", samples, pads=not ogg), pads=not ogg)
    tables = chunk(b"LIST", b"pdta" + chunk(b"shdr", headers))
    path.write_bytes(chunk(b"RIFF", b"sfbk" + data + tables))


def as_font(**waves: np.ndarray) -> list[Recording]:
    return [Recording(name, wave, 44_100) for name, wave in waves.items()]


def test_recordings_are_read_as_they_were_written(tmp_path):
    write_font(tmp_path / "a.sf2", WAVES)
    found = read_recordings(tmp_path / "a.sf2")
    assert [recording.name for recording in found] == list(WAVES)  # not what is in a chip
    for recording, wave in zip(found, WAVES.values(), strict=True):
        np.testing.assert_array_equal(recording.frames, wave)
        assert recording.sample_rate_hz == 44_100


@pytest.mark.parametrize("more", [b"", b"\0"])
def test_an_sf3_of_odd_chunks_is_read(tmp_path, more):
    write_font(tmp_path / "a.sf3", WAVES, ogg=True)
    (tmp_path / "a.sf3").write_bytes((tmp_path / "a.sf3").read_bytes() + more)
    found = read_recordings(tmp_path / "a.sf3")
    for recording, wave in zip(found, WAVES.values(), strict=True):
        assert len(recording.frames) == len(wave)
        assert np.corrcoef(recording.frames, wave)[0, 1] > 0.95


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", chunk(b"RIFF", b"sfbk")])
def test_what_is_no_soundfont_is_an_error(tmp_path, content):
    (tmp_path / "a.sf2").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.sf2"):
        read_recordings(tmp_path / "a.sf2")


SAME = {
    "itself": lambda wave: wave,
    "softer": lambda wave: np.int16(wave * 0.3),
    "trimmed": lambda wave: wave[777:9999],
    "trimmed the other way": lambda wave: np.concatenate([noise(0.02), wave]),
    "resampled": lambda wave: soxr.resample(wave, 44_100, 30_000),
}


@pytest.mark.parametrize("how", SAME)
def test_a_recording_is_found_in_another_font(how):
    made = SAME[how](WAVES["Flute"])
    rate_hz = 30_000 if how == "resampled" else 44_100
    fonts = {
        "one": as_font(**WAVES),
        "two": [*as_font(other=noise(), another=noise()), Recording("copy", made, rate_hz)],
    }
    found = soundfonts.compare(fonts)
    assert found["one"]["found_in"] == {"two": {"1 Flute": "2 copy"}}
    assert found["two"]["found_in"] == {"one": {"2 copy": "1 Flute"}}


def test_short_recordings_are_not_compared_and_others_share_nothing():
    short = noise(1023 / 44_100)
    fonts = {"one": as_font(short=short, a=noise()), "two": as_font(short=short, b=noise())}
    found = soundfonts.compare(fonts)
    assert (found["one"]["recordings"], found["one"]["compared"]) == (2, 1)
    assert found["one"]["found_in"] == {"two": {}}


def test_the_correlation_is_that_of_the_common_stretch():
    wave = WAVES["Drum"]
    assert soundfonts.correlation(wave, wave[100:], -100) == pytest.approx(1.0)
    assert soundfonts.correlation(wave[100:], -wave, 100) == pytest.approx(-1.0)
    assert abs(soundfonts.correlation(wave, wave, 50)) < 0.5
    assert soundfonts.correlation(wave[:2000], wave, -977) == 0.0  # 1,023 frames in common


def test_the_program_compares_the_packages(tmp_path, monkeypatch, capsys):
    fonts = {"a-font": "usr/a.sf2", "b-font": "usr/b.sf2"}
    monkeypatch.setattr(soundfonts, "FONTS", fonts)
    for package, path in fonts.items():
        file = tmp_path / "packages" / package / path
        file.parent.mkdir(parents=True)
        write_font(file, WAVES if package == "a-font" else {"Flute 2": WAVES["Flute"]})
        (tmp_path / "packages" / f"{package}.version").write_text("1.0")
    assert soundfonts.main([f"--out={tmp_path}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| recordings of | compared | in a-font | in b-font |",
        "| --- | --- | --- | --- |",
        "| a-font | 3 | - | 1 |",
        "| b-font | 1 | 1 | - |",
    ]
    found = json.loads((tmp_path / "soundfonts.json").read_text())["fonts"]
    assert found["b-font"]["found_in"] == {"a-font": {"0 Flute 2": "1 Flute"}}
    assert found["a-font"]["version"] == "1.0"
