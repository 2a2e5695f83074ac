"""The application over real connections: its answers, and what hostile requests get."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import soundfile

from coala_jax.serve import protocol, routes, server
from coala_jax.serve.catalogue import key_of
from coala_jax.serve.guard import _HEADERS
from tests.served import RATE_HZ, BandEmbedder, ask, serving, tone, write_index

LONG, SMALL = key_of("long.wav"), key_of("deep/a.wav")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return write_index(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def address(index):
    with serving(index) as found:
        yield found


def wav(folder, seconds=0.4) -> bytes:
    soundfile.write(folder / "given.wav", tone(1.1, seconds), RATE_HZ)
    return (folder / "given.wav").read_bytes()


def raw(address: str, *parts: bytes, pause: float = 0.0, wait: float = 20.0) -> bytes:
    """What comes back for bytes on a connection, until the server closes it."""
    with socket.create_connection(urlsplit(address).netloc.split(":"), timeout=wait) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def test_the_page_and_its_files_and_nothing_else(address):
    page = ask(address, "/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    named = set(re.findall(r"/static/[\w.]+", page.content.decode()))
    assert {"/static/app.js", "/static/style.css", "/static/icon.svg"} == named
    for name in [*named, "/static/map.js"]:
        assert ask(address, name).status == 200
    kinds = [ask(address, name).headers["content-type"].split(";")[0] for name in sorted(named)]
    assert kinds == ["text/javascript", "image/svg+xml", "text/css"]
    for path in ("/static/", "/static/../server.py", "/static/%2e%2e/server.py", "/server.py",
                 "/static/index.html", "/api", "//etc/passwd", "/api/sounds/../index"):  # fmt: skip
        answer = ask(address, path)
        assert answer.status in (404, 405) and answer.json()["error"].endswith(
            "Fix: open / instead"
        )


def test_every_answer_forbids_what_the_page_does_not_need(address):
    for path in ("/", "/static/app.js", "/api/index", "/none", f"/api/sounds/{SMALL}/file"):
        answer = ask(address, path)
        for name, value in _HEADERS.items():
            assert answer.headers.get_all(name) == [value]
        assert answer.headers["cache-control"] and "server" not in answer.headers
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    policy = dict(part.split(" ", 1) for part in _HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


def test_the_page_itself_has_no_inline_code_and_nothing_from_elsewhere(address):
    page = ask(address, "/").content.decode()
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", page)
    for name in ["/", *(f"/static/{name}" for name in routes._page() if name != "index.html")]:
        text = ask(address, name).content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*//.*$|; // .*$|, // .*$|\{ // .*$", "", text, flags=re.M), (
            name
        )
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


def test_a_search_over_http(address):
    found = ask(address, "/api/search?words=hiss, -deep&top=3").json()
    assert found["hits"][0]["path"] == "f.wav" and len(found["hits"]) == 3
    long = ask(address, "/api/search?words=deep&least=10").json()["hits"]
    assert [hit["key"] for hit in long] == [LONG]
    for query in ("", "words=zzz", "words=deep&top=201", "words=deep&top=x", "words=deep&least=nan",
                  "words=deep&most=-1", "words=deep&least=3&most=2", "words=" + "a" * 300,
                  "like=../../etc/passwd", "words=deep&top=1e999"):  # fmt: skip
        answer = ask(address, f"/api/search?{query}")
        assert answer.status in (400, 404) and " Fix: " in answer.json()["error"], query


def test_a_sound_is_a_record_a_preview_a_picture_and_a_file(address, index):
    assert ask(address, f"/api/sounds/{SMALL}").json()["path"] == "deep/a.wav"
    played = ask(address, f"/api/sounds/{LONG}/preview")
    assert played.headers["content-type"] == "audio/mpeg" and len(played.content) > 20_000
    assert ask(address, f"/api/sounds/{LONG}/picture").json()["seconds"] == 15
    content = (index.parent / "sounds" / "long.wav").read_bytes()
    whole = ask(address, f"/api/sounds/{LONG}/file")
    assert whole.content == content and whole.headers["content-type"] == "audio/wav"
    part = ask(address, f"/api/sounds/{LONG}/file", Range="bytes=100-299")
    assert (part.status, part.content) == (206, content[100:300])
    assert part.headers["content-range"] == f"bytes 100-299/{len(content)}"
    assert ask(address, f"/api/sounds/{LONG}/file", Range="bytes=-7").content == content[-7:]
    assert ask(address, f"/api/sounds/{LONG}/file", Range=f"bytes={10**9}-").status == 416
    assert ask(address, f"/api/sounds/{LONG}/file", method="HEAD").content == b""
    name = ask(address, f"/api/sounds/{key_of('<b>.wav')}/file").headers["content-disposition"]
    assert name == "inline; filename*=utf-8''%3Cb%3E.wav"


@pytest.mark.parametrize(
    "key", ["deep/a.wav", "..%2f..%2fetc%2fpasswd", "%00", "0" * 16, "a" * 5000]
)
def test_no_file_is_had_by_its_path(address, key):
    for what in ("", "/file", "/preview", "/picture"):
        assert ask(address, f"/api/sounds/{key}{what}").status == 404


def test_a_sound_that_cannot_be_decoded_is_a_sentence(tmp_path):
    index = write_index(tmp_path)
    (tmp_path / "sounds" / "d.wav").write_bytes(b"<html>no sound</html>")
    with serving(index) as address:
        for what in ("preview", "picture"):
            answer = ask(address, f"/api/sounds/{key_of('d.wav')}/{what}")
            assert answer.status == 422 and answer.json()["error"].startswith("d.wav: it holds")
        answer = ask(address, f"/api/sounds/{key_of('d.wav')}/file")
        assert answer.headers["content-type"] == "audio/wav"  # and never text/html


def test_a_sound_that_is_given_is_searched_with(address, tmp_path):
    given = ask(address, "/api/sounds?name=<b>\n.wav", wav(tmp_path)).json()
    assert given["path"] == "<b>\\n.wav" and given["seconds"] == 0.4
    found = ask(address, f"/api/search?like={given['key']}").json()
    assert found["hits"][0]["path"] == "b.flac" and found["title"] == "like <b>\\n.wav"
    answer = ask(address, "/api/sounds?name=a.wav", b"no sound at all, but text")
    assert answer.status == 422 and answer.json()["error"].startswith("a.wav: it holds plain text")
    assert ask(address, "/api/sounds", b"").status == 400


def test_other_pages_and_names_are_refused(address, tmp_path):
    own = urlsplit(address).netloc
    for refused in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"},
                    {"Origin": "null"}):  # fmt: skip
        for path in ("/api/index", "/api/search?words=deep", f"/api/sounds/{SMALL}/file"):
            assert ask(address, path, **refused).status == 403
        assert ask(address, "/api/sounds", wav(tmp_path), **refused).status == 403
    assert ask(address, "/api/index", Origin=f"http://{own}").status == 200
    answer = ask(address, "/api/index", Host="evil.example")
    assert answer.status == 421 and "'evil.example'" in answer.json()["error"]
    assert ask(address, "/api/index", X_Forwarded_Host="evil.example").status == 200
    assert ask(address, "/api/index", method="DELETE").status == 405


def test_a_body_has_bounds(address, tmp_path, monkeypatch):
    monkeypatch.setattr(routes, "UPLOAD_BYTES", 10_000)
    large = wav(tmp_path, 2.0)
    answer = ask(address, "/api/sounds", large)
    assert answer.status == 413 and "more than 0.01 MB. Fix: cut it" in answer.json()["error"]
    assert answer.headers["connection"] == "close"
    host = urlsplit(address).netloc.encode()
    head = b"POST /api/sounds HTTP/1.1\r\nHost: " + host + b"\r\n"
    chunks = b"2000\r\n" + bytes(0x2000) + b"\r\n"  # whose sum nobody declares
    answer = raw(address, head + b"Transfer-Encoding: chunked\r\n\r\n", chunks, chunks)
    assert answer.startswith(b"HTTP/1.1 413 ")
    answer = raw(address, head + b"Content-Length: 99999999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    monkeypatch.setattr(routes, "UPLOAD_SECONDS", 0.2)
    began = time.monotonic()
    answer = raw(address, head + b"Content-Length: 5000\r\n\r\n", b"RIFF")
    assert answer.startswith(b"HTTP/1.1 408 ") and b"did not arrive within 0.2 s" in answer
    assert time.monotonic() - began < 10
    assert ask(address, "/api/index").status == 200


def test_malformed_requests_and_slow_headers_end(address, monkeypatch):
    for sent in (b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000):  # fmt: skip
        answer = raw(address, sent)
        assert not answer or answer.startswith(b"HTTP/1.1 4"), sent[:40]
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    host = urlsplit(address).netloc.encode()
    for parts in ([], [b"GET / HTTP/1.1\r\n"], [b"GET / ", b"HTTP/1.1\r\n", b"Host: ", host]):
        answer = raw(address, *parts, pause=0.02)
        assert answer.startswith(b"HTTP/1.1 408 ") and b"Fix: send them again" in answer
    whole = b"GET /api/index HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
    assert raw(address, whole[:9], whole[9:], pause=0.05).startswith(b"HTTP/1.1 200 ")
    assert ask(address, "/api/index").status == 200


def test_a_sound_in_the_model_keeps_no_search_waiting(index, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(BandEmbedder):
        def describe_each(self, sounds, *args, **kwargs):
            if sounds[0].any():  # not the second of silence that comes first
                begun.set()
                assert go_on.wait(60)
            return super().describe_each(sounds, *args, **kwargs)

    with serving(index, Slow) as address, ThreadPoolExecutor(1) as other:
        slow = other.submit(ask, address, "/api/sounds", wav(tmp_path))
        assert begun.wait(60)
        assert ask(address, "/api/search?words=deep").status == 200 and not slow.done()
        go_on.set()
        assert slow.result(60).status == 200


def test_an_address_of_every_network_or_a_port_in_use_is_refused(address):
    port = urlsplit(address).port
    for host, number, said in (
        ("0.0.0.0", 0, "every network of this machine. Fix: name the address of one"),
        ("::", 0, "every network"),
        ("localhost", 0, "it must be an address such as 127.0.0.1"),
        ("127.0.0.1", port, "cannot be opened .*Fix: choose another --port"),
    ):
        with pytest.raises(ValueError, match=said):
            server.listen(host, number)
    with server.listen("127.0.0.1", 0) as free:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.address_of(free))
