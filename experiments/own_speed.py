"""How large models of ours and MFCCs are, and how fast they embed."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
from flax.traverse_util import flatten_dict

from coala_jax import storage
from coala_jax.audio import decode
from coala_jax.audio.frontend import Waveform
from coala_jax.evaluation.evaluators import load_evaluators
from coala_jax.models.pretrained import PretrainedModel

CLIPS = 200  # of all, that the speed is measured on


def measure_all(
    specs: Mapping[str, str], clips: Mapping[str, Path], folder: Path
) -> dict[str, dict[str, Any]]:
    """`measure` of each spec by name, on clips spread over all; kept in the folder.

    clips: by the SHA-256 of their bytes.
    """
    chosen, found = list(clips.values())[:: max(1, len(clips) // CLIPS)], {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, spec in specs.items():
        file = folder / f"{storage.fingerprint([spec, list(clips)])[:16]}.json"
        if not file.exists():
            storage.write_json(file, measure(spec, chosen))
        found[name] = storage.read_json(file)
    return found


def measure(spec: str, files: Sequence[Path]) -> dict[str, Any]:
    """Size of what the spec names, and what it takes to read and embed the files.

    One more file is embedded before, so that what is compiled then is not counted. Parameters are
    those of the audio encoder, bytes those of the whole model.
    """
    (evaluator,) = load_evaluators([spec])

    def read(file: Path) -> Waveform:
        return decode.load(file, evaluator.sample_rate_hz, allow_silence=True)

    evaluator.embed_clips([read(files[0])], "paper")
    began, began_cpu = time.monotonic(), time.process_time()
    vectors = evaluator.embed_clips(map(read, files), "paper")
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - began_cpu
    found = {
        "dimensions": vectors.shape[1],
        "clips": len(files),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "audio_seconds": sum(soundfile.info(file).duration for file in files),
    }
    if not spec.startswith("mfcc"):
        encoder = PretrainedModel.load(spec).variables["params"]["audio_encoder"]
        found["parameters"] = sum(leaf.size for leaf in flatten_dict(encoder).values())
        found["weights_bytes"] = (Path(spec) / "model.safetensors").stat().st_size
    return found
