"""The application on a socket of this machine."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from coala_jax.embedding.index import Index
from coala_jax.embedding.index_settings import shown
from coala_jax.serve.guard import LOOPBACK, Guard
from coala_jax.serve.library import Library
from coala_jax.serve.protocol import Protocol
from coala_jax.serve.routes import Routes
from coala_jax.serve.uploads import Uploads

if TYPE_CHECKING:
    from coala_jax.embedding.embedder import Embedder

_CONNECTIONS = 64  # more at a time are refused
_MODEL_SECONDS = 2.0  # before the model is loaded, which would slow the first search down


def open_index(folder: Path, model: Path | None = None) -> tuple[Library, Uploads]:
    """An index that is open to be asked, and the sounds that it is asked with.

    Args:
        model: the folder of the index's model, if it has moved.

    Raises:
        ValueError: the folder holds no index, or a damaged one.
    """
    uploads = Uploads(lambda: _load(folder, model))
    return Library(folder, uploads), uploads


def make_app(library: Library, uploads: Uploads, host: str = "127.0.0.1") -> Starlette:
    """The application.

    Args:
        host: the address that it is opened by, if that is not this machine's loopback.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        later = asyncio.get_running_loop().call_later(_MODEL_SECONDS, uploads.start)
        yield
        later.cancel()
        uploads.close()

    hosts = LOOPBACK | {f"[{host}]" if ":" in host else host}
    return Starlette(
        routes=Routes(library, uploads).all(),
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _no_such_page},
        lifespan=lifespan,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ValueError: the address is none of one interface, or the port cannot be had.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise ValueError(f"--host is {host!r}; it must be an address such as 127.0.0.1") from error
    if address.is_unspecified:
        raise ValueError(
            f"--host is {host}, every network of this machine. Fix: name the address of one"
        )
    listening = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_CONNECTIONS)
    except OSError as error:
        listening.close()
        raise ValueError(
            f"{host} port {port} cannot be opened ({error.strerror}). Fix: choose another --port"
        ) from error
    return listening


def make_server(app: Starlette) -> uvicorn.Server:
    """A server with bounds on what a client may take; it runs on a socket of `listen`."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="error",
        proxy_headers=False,  # nobody in front may say where a request comes from
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=2**14,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


def address_of(listening: socket.socket) -> str:
    """What the browser opens."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def open_browser(address: str) -> None:
    """Opens a page, where there is a screen; in a thread, since some browsers keep one waiting."""
    if sys.platform == "darwin" or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


async def _no_such_page(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    text = f"{shown(request.url.path[:80])}: {error.detail}. Fix: open / instead"
    return JSONResponse({"error": text}, error.status_code)


def _load(folder: Path, model: Path | None) -> "Embedder":
    """The index's model. Raises ValueError where there is none, or another."""
    return Index(folder).load_model(model)
