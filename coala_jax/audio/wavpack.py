"""WavPack, which libsndfile does not know, by a program that does."""

import io
import math
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

# WavPack's own first. ffmpeg finds damage when asked to, and stops at it.
_PROGRAMS = {
    "wvunpack": "-q -w -o - {path}",
    "ffmpeg": "-nostdin -v error -xerror -err_detect crccheck+explode -i file:{path} "
    "-c:a pcm_f32le -f wav -",
}
_CHUNK_BYTES = 2**20
_SAID_BYTES = 2_000  # of a program's complaint


def to_wav(path: Path, max_seconds: float = math.inf) -> tuple[io.FileIO, str] | None:
    """A WavPack file as a temporary WAV file, and what the program found wrong, if anything.

    None when no program for it is on PATH. The WAV may be empty or cut short if the file is, and is
    cut a second after `max_seconds`: a small file can unpack to any size. Whoever gets it closes
    it; it has no name, and is gone then.
    """
    for program, arguments in _PROGRAMS.items():
        if (found := shutil.which(program)) is None:
            continue
        # An absolute path begins with no dash.
        filled = [argument.format(path=path.absolute()) for argument in arguments.split()]
        wav = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 the caller closes it
        with tempfile.TemporaryFile() as complaints:
            status = _unpack([found, *filled], wav, complaints, max_seconds)
            complaints.seek(0)
            said = " ".join(complaints.read(_SAID_BYTES).decode(errors="replace").split())
        failed = status or not wav.tell()
        return wav, f"{program} finds it damaged ({said})" if failed else ""
    return None


def _unpack(command: list[str], wav: io.FileIO, complaints: IO[bytes], max_seconds: float) -> int:
    """Runs the program until it ends or has written enough; its exit status, 0 in that case."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
    ) as process:
        most = math.inf
        while chunk := process.stdout.read(_CHUNK_BYTES):
            if not wav.tell():
                most = _most_bytes(chunk, max_seconds)
            wav.write(chunk)
            if wav.tell() > most:
                process.kill()
                return 0
        return process.wait()


def _most_bytes(head: bytes, max_seconds: float) -> float:
    """How many bytes of the WAV are a second longer than allowed."""
    at = head.find(b"fmt ") + 16
    bytes_per_second = int.from_bytes(head[at : at + 4], "little")
    return len(head) + bytes_per_second * (max_seconds + 1) if at >= 16 else math.inf
