"""WavPack, which libsndfile does not know, by a program that does."""

import shutil
import subprocess
from pathlib import Path

# WavPack's own first. ffmpeg finds damage when asked to, and stops at it.
_PROGRAMS = {
    "wvunpack": "-q -w -o - {path}",
    "ffmpeg": "-nostdin -v error -xerror -err_detect crccheck+explode -i file:{path} "
    "-c:a pcm_f32le -f wav -",
}


def to_wav(path: Path) -> tuple[bytes, str] | None:
    """A WavPack file as a WAV file, in memory, and what the program found wrong, if anything.

    None when no program for it is on PATH. The WAV may be empty or cut short if the file is.
    """
    for program, arguments in _PROGRAMS.items():
        if (found := shutil.which(program)) is None:
            continue
        # An absolute path begins with no dash.
        filled = [argument.format(path=path.absolute()) for argument in arguments.split()]
        run = subprocess.run([found, *filled], stdin=subprocess.DEVNULL, capture_output=True)
        said = " ".join(run.stderr.decode(errors="replace").split())
        failed = run.returncode or not run.stdout
        return run.stdout, f"{program} finds it damaged ({said})" if failed else ""
    return None
