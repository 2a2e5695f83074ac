"""HTTP/1.1 as uvicorn speaks it, for clients that take at most ten seconds for their headers."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
    b'{"error": "the headers did not arrive in time. Fix: send them again"}'
)


class Protocol(H11Protocol):
    """Closes a connection whose next request does not begin, or whose headers do not end.

    uvicorn waits for these for ever; a few hundred such connections would be all that it takes.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._set_deadline()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        """Begins to wait; bytes that come meanwhile do not prolong it."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        # Between two requests uvicorn's own, shorter timeout has closed the connection before.
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.conn.their_state is h11.IDLE and not is_answering:
            self.transport.write(_TOO_SLOW)
            self.transport.close()
