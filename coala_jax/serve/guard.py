"""Which requests are answered at all, and what every answer forbids the browser.

A page of another site, opened in the same browser, can send requests to this machine, and by a name
of its own that it lets resolve to 127.0.0.1 (DNS rebinding) even read the answers. So the name in
`Host` must be one of this machine's loopback, and the browser's own account of where a request
comes from (`Origin`, `Sec-Fetch-Site`) must name this page.
"""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware; see the module.

    Args:
        hosts: names that `Host` may have, without the port.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        status, error = refusal(scope["method"], scope["path"], Headers(scope=scope), self._hosts)
        if status:
            # What comes after a refused request's headers is not read.
            answer = JSONResponse({"error": error}, status, headers={"Connection": "close"})
            await answer(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)


def refusal(method: str, path: str, headers: Headers, hosts: Collection[str]) -> tuple[int, str]:
    """The status and the sentence for a request that is refused; 0 for one that is not."""
    if method not in ("GET", "HEAD", "POST"):
        return 405, f"the method {method[:20]} is not known here. Fix: use GET or POST"
    named = headers.getlist("host")
    if len(named) != 1:
        return 400, "the request names no host, or several. Fix: send one header Host"
    if _without_port(named[0]) not in hosts:
        return 421, (
            f"this page does not answer to the name {named[0][:80]!r}. Fix: open it by the address "
            "that coala serve prints"
        )
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{named[0]}":
        return 403, "the request comes from another page. Fix: open the page of coala serve itself"
    site = headers.get("sec-fetch-site", "none")
    # A link on another page may lead to this one, but to nothing else of it.
    is_link = path == "/" and method == "GET" and headers.get("sec-fetch-dest") == "document"
    if site not in ("none", "same-origin") and not is_link:
        return 403, "the request comes from another page. Fix: open the page of coala serve itself"
    return 0, ""


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()
