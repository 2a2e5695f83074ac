"""A page in the browser over an index: search, listen, and walk a map of all sounds.

    coala serve sounds.index
    coala serve sounds.index --port=9000 --no_open

The page finds sounds by tags, by a sound that is dropped on it or recorded, or by both; it shows
all sounds as a map, finds more like one, and keeps favourites. Only this machine can open it.
Ctrl-C ends it. It needs the extra: pip install 'coala_jax[serve]'
"""

import argparse
import sys
from collections.abc import Sequence

from absl import logging

from coala_jax import logs
from coala_jax.cli import found
from coala_jax.flags import Parser, run

PROGRAM = "coala serve"
_PORT = 8765


def parser() -> Parser:
    flags = Parser(PROGRAM, __doc__)
    found.index_flags(flags)
    flags.add_argument(
        "--port",
        type=_port,
        default=_PORT,
        help="port of the page; 0 takes a free one (%(default)s)",
    )
    flags.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address of this machine that it listens at (%(default)s: nobody else can open it)",
    )
    flags.add_argument(
        "--open", action="store_true", default=True, help="opens the browser (the default)"
    )
    flags.add_argument("--no_open", dest="open", action="store_false", help="leaves it closed")
    found.moved_model_flag(flags)
    return flags


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("a port from 0 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    flags = parser().parse_args(argv)
    logs.start()

    def work() -> int:
        try:
            from coala_jax.serve import server
        except ImportError as error:
            raise ValueError(
                f"the page needs Starlette and uvicorn ({error}). Fix: pip install "
                "'coala_jax[serve]'"
            ) from error
        with server.listen(flags.host, flags.port) as listening:
            library, uploads = server.open_index(flags.index, flags.model)
            library.warm()
            app = server.make_app(library, uploads, flags.host)
            address = server.address_of(listening)
            print(f"{address}  {len(library)} sounds; Ctrl-C ends it", flush=True)
            if not flags.host.startswith("127.") and flags.host != "::1":
                logging.warning("whoever reaches %s can hear every sound of the index", flags.host)
            if flags.open:
                server.open_browser(address)
            try:
                server.make_server(app).run(sockets=[listening])
            except KeyboardInterrupt:
                print(file=sys.stderr)  # a line of its own after ^C; this is how it ends
        return 0

    return run(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
