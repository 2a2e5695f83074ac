"""The command that opens the page: its flags, and what is said where it cannot."""

import sys

import pytest

from coala_jax import cli
from coala_jax.serve import server
from tests.served import BandEmbedder, write_index


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_load", lambda folder, model: BandEmbedder())
    return write_index(tmp_path)


@pytest.fixture
def run(monkeypatch):
    """Runs the command until it serves; returns its exit code and what was opened."""
    opened, answers = [], []

    def serve(self, sockets):
        answers.append(server.address_of(sockets[0]))
        raise KeyboardInterrupt  # as uvicorn does after it has ended

    monkeypatch.setattr(server.uvicorn.Server, "run", serve)
    monkeypatch.setattr(server, "open_browser", opened.append)
    return lambda *words: (cli.main(["serve", *map(str, words)]), answers, opened)


def test_it_says_where_the_page_is_and_opens_it(run, index, capsys):
    code, answers, opened = run(index, "--port=0")
    said = capsys.readouterr().out
    assert code == 0 and opened == answers and answers[0].startswith("http://127.0.0.1:")
    assert said == f"{answers[0]}  8 sounds; Ctrl-C ends it\n"
    assert run(index, "--port=0", "--no_open")[2] == opened[:1]


def test_what_cannot_be_served_is_one_sentence(run, tmp_path, capsys):
    assert run(tmp_path, "--port=0")[0] == 1
    assert "no index of sounds. Fix: make one with coala index" in capsys.readouterr().err
    assert run(tmp_path, "--host=0.0.0.0")[0] == 1
    assert "coala serve: --host is 0.0.0.0, every network" in capsys.readouterr().err
    for port in ("x", "65536", "-1"):
        with pytest.raises(SystemExit):
            run(tmp_path, f"--port={port}")
        assert "it must be a port from 0 to 65535" in capsys.readouterr().err


def test_a_missing_extra_is_named(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "coala_jax.serve.server")
    monkeypatch.delattr("coala_jax.serve.server")
    assert cli.main(["serve", str(tmp_path)]) == 1
    assert "Fix: pip install 'coala_jax[serve]'" in capsys.readouterr().err


def test_the_browser_is_opened_where_there_is_a_screen(monkeypatch):
    opened = []
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    monkeypatch.setattr(server.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    server.open_browser("http://127.0.0.1:1/")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(server.threading, "Thread", Immediate)
    server.open_browser("http://127.0.0.1:2/")
    assert opened == ["http://127.0.0.1:2/"]


class Immediate:
    def __init__(self, target, args, daemon):
        self.start = lambda: target(*args)


def test_a_model_that_has_moved_or_is_another_is_named(tmp_path):
    index = write_index(tmp_path)
    with pytest.raises(ValueError, match=r"no longer in .*model, .*Fix: name .* --model"):
        server._load(index, None)


def test_another_address_is_a_name_of_the_page(index):
    library, uploads = server.open_index(index)
    app = server.make_app(library, uploads, "192.168.0.7")
    (guard,) = app.user_middleware
    assert "192.168.0.7" in guard.kwargs["hosts"] and "127.0.0.1" in guard.kwargs["hosts"]
    assert (
        "[fd00::1]"
        in server.make_app(library, uploads, "fd00::1").user_middleware[0].kwargs["hosts"]
    )
