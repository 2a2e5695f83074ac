"""Which requests are refused: other names, other pages, other methods."""

import pytest
from starlette.datastructures import Headers

from coala_jax.serve.guard import LOOPBACK, refusal

OWN = "127.0.0.1:8765"


def status(method="GET", path="/api/index", hosts=LOOPBACK, **given) -> int:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    found, error = refusal(method, path, Headers(raw=raw), hosts)
    assert bool(found) == bool(error) and (not error or ". Fix: " in error)
    return found


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765"])
def test_loopback_has_these_names(host):
    assert status(host=host) == 0


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil", "0.0.0.0",
     "127.0.0.1@evil.example", "127.0.0.1:8765:1", "127.0.0.2", "192.168.0.7:8765", "[::1", ""],
)  # fmt: skip
def test_another_name_is_refused(host):
    assert status(host=host) == 421


def test_an_address_that_was_asked_for_is_a_name():
    assert status(host="192.168.0.7:8765", hosts=LOOPBACK | {"192.168.0.7"}) == 0


def test_no_name_or_two_are_refused():
    assert status() == 400
    twice = Headers(raw=[(b"host", OWN.encode()), (b"host", b"evil.example")])
    assert refusal("GET", "/", twice, LOOPBACK)[0] == 400


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        (f"http://{OWN}", 0),
        ("http://127.0.0.1:9999", 403),  # another program on this machine
        ("http://localhost:8765", 403),  # not the page that was opened
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_another_origin_is_refused(origin, wanted):
    for method in ("GET", "POST"):
        assert status(method, host=OWN, origin=origin) == wanted


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_fetches_is_refused_but_a_link_to_the_page(site):
    own = {"host": OWN, "sec_fetch_site": site}
    assert status(**own) == status(path="/", **own) == 403
    assert status(path="/", sec_fetch_dest="document", **own) == 0
    for dest in ("iframe", "image", "empty"):
        assert status(path="/", sec_fetch_dest=dest, **own) == 403
    assert status(path="/api/index", sec_fetch_dest="document", **own) == 403
    assert status("POST", "/", sec_fetch_dest="document", **own) == 403
    for inside in ("same-origin", "none"):
        assert status(host=OWN, sec_fetch_site=inside) == 0


def test_other_methods_are_refused():
    assert [status(method, host=OWN) for method in ("HEAD", "POST")] == [0, 0]
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "X" * 99):
        assert status(method, host=OWN) == 405
