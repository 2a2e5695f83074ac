"""The peers: what each needs, installed in an environment of its own, and what it makes there."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coala_jax import storage
from experiments import programs

SCRIPT = Path(__file__).with_name("peer_embeddings.py")


@dataclass(frozen=True)
class Peer:
    """A pretrained encoder of others.

    Attributes:
        name: in tables.
        package: with its version; the weights are in it. What it asks for is not installed, as it
            is of years ago, but `requires`.
        licence: of the weights.
    """

    name: str
    package: str
    requires: tuple[str, ...]
    licence: str

    @property
    def key(self) -> str:
        """What `peer_embeddings` calls it."""
        return self.package.partition("==")[0]


PEERS = (
    Peer("aiSFX", "aisfx==0.1.2", ("torch==2.13.0", "librosa==0.10.2", "tqdm"), "CC BY 4.0"),
    Peer(
        "musicnn",
        "musicnn==0.1.0",
        ("tensorflow-cpu==2.15.1", "numpy<2", "librosa==0.10.2"),
        "ISC",
    ),
)


def vectors(peer: Peer, out: Path, clips: Mapping[str, Path], python: str) -> dict[str, Any]:
    """Makes OUT/vectors/KEY.npz, unless it is there for the same clips; returns its record.

    Args:
        clips: by the SHA-256 of their bytes in hex.
        python: interpreter that the peer's environment is made with.

    Raises:
        RuntimeError: a program failed; it has said why.
    """
    folder = out / "vectors"
    listed, record = folder / f"{peer.key}-clips.json", folder / f"{peer.key}.json"
    wanted = {digest: str(path) for digest, path in clips.items()}
    done = listed.exists() and list(storage.read_json(listed)) == list(wanted) and record.exists()
    if not done:
        interpreter = _environment(peer, out / "envs", python)
        record.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        storage.write_json(listed, wanted)
        programs.call(interpreter, str(SCRIPT), peer.key, str(listed), f"{folder / peer.key}.npz")
    (wheel,) = (out / "envs" / "wheels").glob(f"{peer.key}-*")
    return {
        "licence": peer.licence,
        "package": peer.package,
        "package_bytes": wheel.stat().st_size,
        **storage.read_json(record),
    }


def _environment(peer: Peer, envs: Path, python: str) -> str:
    """The interpreter of the peer's environment, which is made where it is not whole."""
    folder, wheels = envs / peer.key, envs / "wheels"
    interpreter, done = f"{folder}/bin/python", folder / "done"
    if done.exists() and done.read_text() == repr(peer):
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    pip = (interpreter, "-m", "pip")
    programs.call(python, "-m", "venv", str(folder))
    programs.call(*pip, "install", *peer.requires)
    programs.call(*pip, "download", "--no-deps", f"--dest={wheels}", peer.package)
    local = ("--no-index", f"--find-links={wheels}")
    programs.call(*pip, "install", "--no-deps", *local, peer.package)
    storage.write_text(done, repr(peer))
    return interpreter
