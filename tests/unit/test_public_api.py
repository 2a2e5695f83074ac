"""What `import coala_jax` offers, and what it loads before that is used."""

import ast
import subprocess
import sys
from pathlib import Path

import coala_jax


def test_every_name_is_there_and_editors_are_told_the_same():
    for name in coala_jax.__all__:
        assert getattr(coala_jax, name) is not None
        assert name in dir(coala_jax)
    source = Path(coala_jax.__file__).read_text(encoding="utf-8")
    (told,) = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    for line in told.body:
        (alias,) = line.names
        assert alias.asname == alias.name  # or a type checker takes it for private
        assert getattr(coala_jax, alias.name).__module__.startswith(line.module)
    assert {line.names[0].name for line in told.body} == set(coala_jax.__all__) - {"__version__"}


def test_what_it_does_not_have_is_an_attribute_error():
    assert not hasattr(coala_jax, "embed")


def test_nothing_heavy_is_loaded_before_it_is_used():
    program = "import coala_jax, sys; print({'jax', 'librosa', 'numpy', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
