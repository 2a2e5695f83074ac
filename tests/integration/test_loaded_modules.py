"""What importing the package loads, in a process of its own."""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import importlib, sys
import coala_jax, coala_jax.default_config
assert "jax" not in sys.modules
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sys.modules)
"""


def test_no_module_loads_tensorflow_or_pytorch_and_the_package_alone_not_even_jax():
    paths = [path.relative_to(ROOT) for path in (ROOT / "coala_jax").rglob("*.py")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    command = [sys.executable, "-c", PROGRAM, *sorted(names)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert loaded.issuperset({*names, "jax"})
    for absent in ("tensorflow", "torch"):
        assert absent not in loaded
        assert importlib.util.find_spec(absent)  # or this test would show nothing


TAGS = """
import sys
import coala_jax.cli.tags, coala_jax.embedding.folder
from coala_jax.cli import model_flag
model_flag.load(None)
print(*sys.modules)
"""


def test_the_tags_of_a_sound_wait_for_no_library_that_they_do_not_need():
    """A start is most of the time that `coala tags` takes."""
    done = subprocess.run([sys.executable, "-c", TAGS], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert loaded >= {"jax", "soundfile", "coala_jax.embedding.embedder"}
    heavy = ("inflect", "lancedb", "librosa", "matplotlib", "optax", "orbax", "pandas", "pyarrow")
    heavy += ("scipy.signal", "scipy.stats", "sklearn", "tensorflow_datasets")
    assert not loaded & set(heavy)
