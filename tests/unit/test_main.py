"""What the training module says of its flags; tests/integration/test_main.py has runs."""

import pytest

from coala_jax import main as training_program


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--wrkdir=w"], "--wrkdir is unknown; did you mean --workdir? Fix: {}"),
        (["--config=c.py", "--workdir=w", "--rate=3"], "--rate is unknown"),
        (["--workdir=w"], "--config is missing. Fix: add it, such as --config=configs/ae_c.py"),
        (["--config=c.py"], "--workdir is missing. Fix: add it, such as --workdir=runs/ae_c"),
        (
            ["--config=c.py", "--workdir=w", "--config.train.epochs=1.5"],
            "config.train.epochs is '1.5'; it must be a whole number. Fix: {}",
        ),
        (["--config.seed", "a"], "config.seed is 'a'; it must be a whole number. Fix: {}"),
        (
            ["--config.loss.tau=8"],
            "config.loss.tau does not exist; the nearest key is config.loss.temperature. Fix: {}",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_training_module_says_the_same_of_its_flags(words, said):
    with pytest.raises(SystemExit) as ended:
        training_program.parse(["main", *words])
    said = said.format("python -m coala_jax.main --help lists the flags")
    assert str(ended.value).startswith(f"coala_jax.main: {said}")


def test_the_training_module_helps_with_exit_code_0(capsys):
    with pytest.raises(SystemExit) as ended:
        training_program.parse(["main", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--config=configs/ae_c.py" in shown and "loss.temperature = 0.1" in shown
