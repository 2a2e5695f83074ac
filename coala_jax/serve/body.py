"""The body of a request as a file, within bounds of size and time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from coala_jax import storage
from coala_jax.serve.errors import RequestError, TimedOutError, TooLargeError


async def save(
    chunks: AsyncIterator[bytes], declared: str | None, file: Path, most: int, seconds: float
) -> int:
    """Writes a body to a file, chunk by chunk; returns its size.

    Args:
        chunks: of the body.
        declared: the header `Content-Length`.
        most: bytes that are taken.
        seconds: after which the rest is no longer waited for.

    Raises:
        TooLargeError, TimedOutError: a bound is passed.
        RequestError: the body is empty.
    """
    too_large = TooLargeError(
        f"the sound has more than {most / 1e6:g} MB. Fix: cut it, or convert it to flac or mp3"
    )
    if declared is not None and declared.isdecimal() and int(declared) > most:
        raise too_large
    size = 0
    with storage.path(file).open("wb") as out:
        try:
            async with asyncio.timeout(seconds):
                async for chunk in chunks:
                    size += len(chunk)
                    if size > most:
                        raise too_large
                    out.write(chunk)
        except TimeoutError as error:
            raise TimedOutError(
                f"the sound did not arrive within {seconds:g} s. Fix: send it again"
            ) from error
    if not size:
        raise RequestError("the sound has zero bytes. Fix: choose another file")
    return size
