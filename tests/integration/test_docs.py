"""The documentation: its site builds without a warning, and its Python examples run."""

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import jupytext
import numpy as np
import pytest
import soundfile

from coala_jax.default_config import get_config
from coala_jax.embedding.embedder import Embedder
from coala_jax.embedding.table import TableWriter
from coala_jax.models.bank import make_bank
from tests.synthetic import MODEL_TAGS, tiny_model, write_random_dataset

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORTER = (r"(?m)(train\.epochs = 16), 20$", r"\1, 2")  # what the tutorial trains, but not as long
RATE_HZ = 22_050
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

# Nothing may be fetched while the site is built: this fails whatever opens a connection.
OFFLINE = """
import socket, sys


def refuse(*arguments, **options):
    raise OSError("the build of the documentation wants the network")


socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from sphinx.cmd.build import main

sys.exit(main(sys.argv[1:]))
"""
# As users run them: without the checks of types and the strict promotion of the tests. One process
# for all pages, since importing JAX takes longer than most of them.
EXAMPLES = """
import json, sys, traceback

failures = {}
for page, program in json.load(sys.stdin).items():
    try:
        exec(compile(program, page, "exec"), {"__name__": "__main__"})
    except BaseException:
        failures[page] = traceback.format_exc()
with open("failures.json", "w") as file:
    json.dump(failures, file)
"""


def examples(page: Path) -> str:
    """The Python examples of a page as one program, at the lines that they have on the page."""
    text = page.read_text(encoding="utf-8")
    program = ""
    for block in BLOCK.finditer(text):
        above = text.count("\n", 0, block.start(1)) - program.count("\n")
        program += "\n" * above + block[1]
    return program


PAGES_WITH_EXAMPLES = [page for page in PAGES if examples(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the examples find: a model, a dataset, sounds with tags, and a table of vectors."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    tags = ["dog", "rain", "bell", "bark", "water", "metal"]
    projected = rng.normal(size=(MODEL_TAGS, 18)).astype(np.float32)
    bank = make_bank(projected, np.eye(MODEL_TAGS, dtype=np.uint8), 0.1, 100)
    model = tiny_model("ae_c", vocabulary=tags, bank=bank)
    model.save_pretrained(folder / "runs" / "quickstart" / "model")
    table = TableWriter(folder / "vectors.parquet", "digest", 18)
    table.write("dog.wav", (1, 2), projected[:1], np.ones(1))
    table.end()
    table.finish({"dog.wav": (1, 2)})
    write_random_dataset(folder / "dataset" / "mine", train=16, validation=4)
    sounds, names = folder / "sounds", ["dog", "rain", "bell"]
    sounds.mkdir()
    for name in names:
        soundfile.write(sounds / f"{name}.wav", rng.uniform(-0.5, 0.5, RATE_HZ), RATE_HZ)
    # What ./run.sh would have left.
    fetched = folder / "corpus/debian/audio/sonic-pi-samples/sonic-pi/samples/perc_bell.flac"
    fetched.parent.mkdir(parents=True)
    soundfile.write(fetched, rng.uniform(-0.5, 0.5, RATE_HZ), RATE_HZ)
    rows = [f"{name}.wav,{name}" for name in names]
    (folder / "tags.csv").write_text("\n".join(["file,tags", *rows, ""]))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; a warning, or anything that is fetched, fails."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", OFFLINE, "-W", "--keep-going", "-q"]
    command += ["-d", str(out / "doctrees"), str(DOCS), str(out / "html")]
    built = subprocess.run(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **PIPES)
    assert built.returncode == 0, built.stdout
    return out / "html"


@pytest.fixture(scope="module")
def failures(folder):
    """The traceback of each page whose examples fail, by its path."""
    programs = {str(page): examples(page) for page in PAGES_WITH_EXAMPLES}
    tutorial = str(DOCS / "tutorial.md")
    programs[tutorial], replaced = re.subn(*SHORTER, programs[tutorial])
    assert replaced == 1
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", EXAMPLES]
    ran = subprocess.run(command, input=json.dumps(programs), env=environment, cwd=folder, **PIPES)
    assert ran.returncode == 0, ran.stdout
    return json.loads((folder / "failures.json").read_text())


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_examples_run(page, failures):
    assert str(page) not in failures, failures[str(page)]


def test_the_tutorial_is_a_notebook():
    page = DOCS / "tutorial.md"
    notebook = jupytext.read(page)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert code == [block.rstrip("\n") for block in blocks] and len(code) > 3


def test_tests_that_pages_name_exist():
    """As `unit/training/test_losses.py::test_x`, below tests/."""
    named = set()
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        named |= set(re.findall(r"`(?:tests/)?([\w/]+\.py)::(\w+)", text))
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (REPOSITORY / "tests" / file).read_text(encoding="utf-8"), test


def test_config_keys_that_pages_name_exist():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    config = get_config().to_dict()
    sections = "|".join(name for name, value in config.items() if isinstance(value, dict))
    named = set(re.findall(rf"(?:`|config\.)({sections})\.(?!md|png|json|safetensors)(\w+)", text))
    assert len(named) > 20
    # `model.embed` and its like are of a loaded model, whose pooling is the config's.
    attributes = {("model", name) for name in dir(Embedder(tiny_model("ae_c")))}
    assert attributes & {("model", key) for key in config["model"]} == {("model", "pooling")}
    unknown = {(s, key) for s, key in named - attributes if key not in config[s]}
    # One is wrong on purpose, in a message about wrong keys.
    assert unknown == {("loss", "tau")}


def test_every_page_is_built(site):
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert not [str(page) for page in pages if not (site / page).is_file()]


def test_links_open_pages_and_download_nothing(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loads = [page for page in pages if 'class="reference download' in page.read_text("utf-8")]
    assert not [str(page.relative_to(site)) for page in loads]


def test_reference_shows_shapes_and_sections(site):
    page = plain((site / "reference" / "embedding.html").read_text(encoding="utf-8"))
    assert "patches: Float32[ndarray, 'patch 96 96']" in page
    assert "DecodeError \N{EN DASH} a file cannot be decoded" in page  # a list, from Raises:
    losses = plain((site / "reference" / "training.html").read_text(encoding="utf-8"))
    assert "own \N{EN DASH} for each sound, the candidate that is its own tag set." in losses
    assert "jaxlib" not in losses


def test_config_table_has_every_key(site):
    page = plain((site / "reference" / "config.html").read_text(encoding="utf-8"))
    config = get_config().to_dict()
    for section, value in config.items():
        keys = [f"{section}.{name}" for name in value] if isinstance(value, dict) else [section]
        for key in keys:
            assert f" {key} " in page, key
    row = "loss.contrastive 'cross_modal' released: 'nt_xent' Eq. 10, may be negative"
    assert row in page


def plain(html: str) -> str:
    """The text of a page on one line."""
    text = re.sub(r"<[^>]+>", "", html.replace("</p>", " ").replace("</dt>", " "))
    return " ".join(unescape(text).split())
