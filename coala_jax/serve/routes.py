"""What the page asks over HTTP, each a thin front over `library` and `uploads`."""

import asyncio
import functools
import math
import tempfile
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np
from absl import logging
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from coala_jax.audio.errors import DecodeError
from coala_jax.audio.preview import MIME
from coala_jax.embedding.index_settings import shown
from coala_jax.serve import body
from coala_jax.serve.errors import ChangedError, RequestError, UnreadableSoundError
from coala_jax.serve.library import MOST_HITS, Library, Question, packed
from coala_jax.serve.picture import State, picture, played, state_of
from coala_jax.serve.uploads import Uploads

UPLOAD_BYTES = 50_000_000
UPLOAD_SECONDS = 60.0
_HITS = 20
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# What browsers play; all else of an index is sent as bytes to save.
_AUDIO_TYPES = {
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
}

Endpoint = Callable[[Request], Awaitable[Response]]
Result = TypeVar("Result")


class Routes:
    """The endpoints.

    Args:
        library: that answers; its calls run in threads, so that no request waits for another.
        uploads: of the same library.
    """

    def __init__(self, library: Library, uploads: Uploads) -> None:
        self._library, self._uploads = library, uploads
        self._asking, self._decoding = anyio.CapacityLimiter(4), anyio.CapacityLimiter(2)

    def all(self) -> list[Route]:
        """The routes, each of which turns errors into a status and a sentence."""
        return [
            Route("/", _answered(_static("index.html"))),
            *(
                Route(f"/static/{name}", _answered(_static(name)))
                for name in sorted(_page())
                if name != "index.html"
            ),
            Route("/api/index", _answered(self.about)),
            Route("/api/search", _answered(self.search)),
            Route("/api/sounds", _answered(self.upload), methods=["POST"]),
            Route("/api/sounds/{key}", _answered(self.sound)),
            Route("/api/sounds/{key}/preview", _answered(self.preview)),
            Route("/api/sounds/{key}/picture", _answered(self.picture)),
            Route("/api/sounds/{key}/file", _answered(self.file)),
            Route("/api/rows/{row:int}", _answered(self.row)),
            Route("/api/map", _answered(self.map)),
            Route("/api/map/points", _answered(self.points)),
        ]

    async def about(self, request: Request) -> Response:
        about = await self._ask(self._library.about)
        about["most"] |= {"bytes": UPLOAD_BYTES}
        return JSONResponse(about)

    async def search(self, request: Request) -> Response:
        asked = request.query_params
        question = Question(
            asked.get("words", ""),
            asked.get("like", ""),
            (_number(asked.get("least"), 0.0), _number(asked.get("most"), math.inf)),
            int(_number(asked.get("top"), float(_HITS), float(MOST_HITS))),
        )
        return JSONResponse(await self._ask(self._library.search, question))

    async def sound(self, request: Request) -> Response:
        sound = await self._ask(self._library.sound, request.path_params["key"])
        return JSONResponse(sound.record())

    async def row(self, request: Request) -> Response:
        version = request.query_params.get("version", "")
        row = request.path_params["row"]
        return JSONResponse((await self._ask(self._library.sound_at, row, version)).record())

    async def preview(self, request: Request) -> Response:
        return Response(await self._decoded(request, played), media_type=MIME)

    async def picture(self, request: Request) -> Response:
        return JSONResponse(await self._decoded(request, picture))

    async def file(self, request: Request) -> Response:
        file = await self._ask(self._library.file, request.path_params["key"])
        kind = _AUDIO_TYPES.get(file.suffix.lower())
        return FileResponse(
            file,
            media_type=kind or "application/octet-stream",
            filename=shown(file.name),
            content_disposition_type="inline" if kind else "attachment",
        )

    async def upload(self, request: Request) -> Response:
        name = shown(request.query_params.get("name", "")[:200]) or "the sound"
        with (
            self._uploads.place(),
            tempfile.TemporaryDirectory(prefix="coala-serve-") as folder,
        ):
            file, declared = Path(folder, "sound"), request.headers.get("content-length")
            await body.save(request.stream(), declared, file, UPLOAD_BYTES, UPLOAD_SECONDS)
            return JSONResponse(await asyncio.wrap_future(self._uploads.submit(file, name)))

    async def map(self, request: Request) -> Response:
        """What the points of the map mean; while it is made, that it is."""
        ready = await self._ask(self._library.map)
        if ready is None:
            return JSONResponse({"state": "making"}, 202)
        version, found = ready
        counts = np.bincount(found.groups, minlength=len(found.names)).tolist()
        groups = [
            {"name": name, "sounds": count} for name, count in zip(found.names, counts, strict=True)
        ]
        return JSONResponse({"state": "ready", "version": version, "groups": groups})

    async def points(self, request: Request) -> Response:
        ready = await self._ask(self._library.map)
        if ready is None or ready[0] != request.query_params.get("version"):
            raise ChangedError("the index has changed. Fix: load the page again")
        return Response(packed(ready[1]), media_type="application/octet-stream")

    async def _ask(self, function: Callable[..., Result], *values: Any) -> Result:
        return await anyio.to_thread.run_sync(function, *values, limiter=self._asking)

    async def _decoded(self, request: Request, function: Callable[[Path, State], Result]) -> Result:
        def work() -> Result:
            file = self._library.file(request.path_params["key"])
            try:
                return function(file, state_of(file))
            except DecodeError as error:
                # A page that may be shown to others says nothing of folders.
                raise UnreadableSoundError(str(error).replace(str(file), file.name)) from error

        return await anyio.to_thread.run_sync(work, limiter=self._decoding)


@functools.cache
def _page() -> dict[str, bytes]:
    """The files of the page by name: what is not among them is not served."""
    names = [file.name for file in (files(__package__) / "static").iterdir()]
    return {name: (files(__package__) / "static" / name).read_bytes() for name in names}


def _static(name: str) -> Endpoint:
    async def answer(request: Request) -> Response:
        kind = _TYPES[Path(name).suffix]
        return Response(_page()[name], media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer


def _answered(endpoint: Endpoint) -> Endpoint:
    """The endpoint, whose errors become a status and a sentence."""

    @functools.wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        except RequestError as error:
            status, text = error.status, str(error)
        except ValueError as error:  # of the library, about what it was asked
            status, text = 400, str(error)
        except Exception as error:
            logging.exception("%s: %s", request.url.path, error)
            status, text = 500, "something went wrong. Fix: see where coala serve runs"
        # Of a request that was not read to its end nothing more is taken.
        close = {"Connection": "close"} if request.method == "POST" else {}
        return JSONResponse({"error": shown(text)}, status, headers=close)

    return answer


def _number(text: str | None, default: float, most: float = math.inf) -> float:
    """A number of the query. Raises RequestError."""
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise RequestError(f"{text[:20]!r} is no number from 0 to {most:g}. Fix: write another")
    return value
