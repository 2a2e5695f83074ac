"""Embeds clips by a peer, in the peer's own environment: imports the peer, nothing of this project.

    ENV/bin/python experiments/peer_embeddings.py aisfx clips.json aisfx.npz

The first file is {SHA-256 of a clip's bytes: its path}. Leaves the vectors by digest in the second,
and beside it, as .json, what they are, how large the network is, and how long all clips took, read
and embedded one after the other, after one that is not counted. It resumes where it was stopped.
"""

import io
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np
import soundfile

AISFX_SECONDS = 1.2  # the package needs half a block of 100 frames, and one frame more
MUSICNN_SECONDS = 3  # of a patch
MUSICNN_WEIGHTS = "MSD_musicnn"  # the larger of its sets of songs, 50 tags
PART_CLIPS = 100  # that a kill may cost


@dataclass(frozen=True)
class Peer:
    """A peer's network, and how it embeds.

    Attributes:
        embed: the file of a clip -> its vector, float32 [dim].
        vector: what that is.
        parameters: of the network as far as it makes vectors.
        weights_bytes: of the file that they are in.
        packages: whose versions matter.
    """

    embed: Callable[[Path], np.ndarray]
    vector: str
    parameters: int
    weights_bytes: int
    packages: tuple[str, ...]


def aisfx() -> Peer:
    """aiSFX (Ma and Lerch, ISMIR 2022), with the package's settings and its librosa front end."""
    import torch
    from aisfx import inference
    from aisfx.preprocessing import spectrogram_normalize
    from aisfx.spectrogram.spectrogram_librosa import compute_spectrogram

    weights = Path(inference.get_path_modelWeights())
    # The numbers beside the weights are NumPy's; NumPy 2 has moved what makes them.
    scalar = (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar")
    with torch.serialization.safe_globals([scalar, np.dtype, type(np.dtype(np.int64))]):
        state, datasets = torch.load(weights, map_location="cpu", weights_only=True)
    model = inference.load_bestModel(state, datasets, "cpu")

    def embed(path: Path) -> np.ndarray:
        spectrogram = compute_spectrogram(
            filename=as_file(padded(*librosa.load(path, sr=int(inference.SAMPLE_RATE)))),
            sr=inference.SAMPLE_RATE,
            block_size=inference.SPEC_BLOCK_LENGTH,
            hop_size=inference.SPEC_HOP_LENGTH,
            n_mels=inference.MEL_BINS,
            f_min=inference.F_MIN,
            f_max=inference.F_MAX,
        )  # [mel, time], of samples at a peak of 1
        blocks = spectrogram_normalize(spectrogram.T)
        return inference.model_get_embedding(blocks, 0.5, True, model, "cpu").numpy().mean(axis=0)

    return Peer(
        embed,
        "the 512 values that its classifiers take, mean over blocks of 2.3 s, every 1.2 s",
        sum(one.numel() for one in model.embedding_net.parameters()),
        weights.stat().st_size,
        ("aisfx", "torch", "librosa", "numpy"),
    )


def musicnn() -> Peer:
    """musicnn (Pons and Serra, 2019), its extractor with one session for all clips."""
    import tensorflow

    tf = sys.modules["tensorflow"] = tensorflow.compat.v1  # the package is of TensorFlow 1
    from musicnn import configuration, extractor, models

    folder = Path(extractor.__file__).parent / MUSICNN_WEIGHTS
    frames = 1 + librosa.time_to_frames(
        MUSICNN_SECONDS,
        sr=configuration.SR,
        n_fft=configuration.FFT_SIZE,
        hop_length=configuration.FFT_HOP,
    )
    inputs = tf.placeholder(tf.float32, [None, frames, configuration.N_MELS])
    is_training = tf.placeholder(tf.bool)
    with tf.name_scope("model"):
        tags = len(configuration.MSD_LABELS)
        *_, penultimate = models.define_model(inputs, is_training, MUSICNN_WEIGHTS, tags)
    session = tf.Session()
    tf.train.Saver().restore(session, f"{folder}/")

    def embed(path: Path) -> np.ndarray:
        samples, rate_hz = tiled(*librosa.load(path, sr=configuration.SR))
        patches, _ = extractor.batch_data(as_file((samples, rate_hz)), frames, frames)
        return session.run(penultimate, {inputs: patches, is_training: False}).mean(axis=0)

    return Peer(
        embed,
        f"{MUSICNN_WEIGHTS}, 200 values of the layer before the tags, mean over patches of 3 s",
        int(sum(np.prod(one.shape) for one in tf.trainable_variables())),
        (folder / ".data-00000-of-00001").stat().st_size,
        ("musicnn", "tensorflow-cpu", "librosa", "numpy"),
    )


PEERS = {"aisfx": aisfx, "musicnn": musicnn}


def padded(samples: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
    """With silence at the end where it is shorter than aiSFX takes."""
    missing = max(0, round(AISFX_SECONDS * rate_hz) - len(samples))
    return np.pad(samples, (0, missing)), rate_hz


def tiled(samples: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
    """Repeated to the length of a patch of musicnn where it is shorter."""
    wanted = MUSICNN_SECONDS * rate_hz
    return (np.resize(samples, wanted) if len(samples) < wanted else samples), rate_hz


def as_file(sound: tuple[np.ndarray, int]) -> io.BytesIO:
    """The samples and their rate as a file in memory, which the packages read as they do others."""
    file = io.BytesIO()
    soundfile.write(file, *sound, format="WAV", subtype="FLOAT")
    file.seek(0)
    return file


def embed_parts(peer: Peer, paths: dict[str, Path], folder: Path) -> dict[str, np.ndarray]:
    """Of all clips in their order: vectors, what they took (two clocks), and lengths in seconds.

    Each part of so many clips is kept in the folder when it is done, and not done again.
    """
    digests, parts = list(paths), []
    folder.mkdir(exist_ok=True)
    for start in range(0, len(digests), PART_CLIPS):
        mine = digests[start : start + PART_CLIPS]
        part = folder / f"{start:06}.npz"
        if not part.exists() or np.load(part)["sha256"].tolist() != mine:
            rows = [timed(peer.embed, paths[digest]) for digest in mine]
            columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            np.savez(temporary := folder / "new.npz", sha256=mine, **columns)
            temporary.replace(part)
        with np.load(part) as arrays:
            parts.append(dict(arrays))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def timed(embed: Callable[[Path], np.ndarray], path: Path) -> dict[str, np.ndarray | float]:
    """A clip's vector with its seconds, those of all cores together, and the clip's length."""
    began, began_cpu = time.monotonic(), time.process_time()
    vector = embed(path)
    return {
        "vectors": vector.astype(np.float32),
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - began_cpu,
        "audio_seconds": soundfile.info(path).duration,
    }


def main(name: str, clips: Path, out: Path) -> None:
    peer = PEERS[name]()
    paths = {digest: Path(path) for digest, path in json.loads(clips.read_text()).items()}
    peer.embed(next(iter(paths.values())))
    found = embed_parts(peer, paths, out.with_suffix(".parts"))
    record = {
        "vector": peer.vector,
        "dimensions": found["vectors"].shape[1],
        "parameters": peer.parameters,
        "weights_bytes": peer.weights_bytes,
        "clips": len(paths),
        **{name: found[name].sum() for name in ("seconds", "cpu_seconds", "audio_seconds")},
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in peer.packages},
    }
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    np.savez(out, sha256=found["sha256"], vectors=found["vectors"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
