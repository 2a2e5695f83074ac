import os
import signal

import pytest

from coala_jax import flags
from coala_jax.training import interruption, parallel
from coala_jax.training.interruption import Interrupted, Interruption

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_before_training_a_signal_ends_the_run_with_a_sentence(number, code, capsys):
    def work():
        with Interruption():
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    assert flags.run("coala train", work, "the same command resumes") == code
    said = f"coala train: stopped by {number.name} before a step was taken. Fix: the same command"
    assert said in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [number for number, _ in SIGNALS])
def test_while_training_a_signal_waits_and_a_second_one_is_the_systems(number, capfd):
    with Interruption() as caught:
        caught.defer()
        assert not caught.due()
        os.kill(os.getpid(), number)
        assert caught.due() == number
        assert {signal.getsignal(each) for each in interruption.SIGNALS} == {signal.SIG_DFL}
        with pytest.raises(Interrupted, match=f"{number.name} when all epochs"):
            caught.undefer()
    assert "again ends it at once" in capfd.readouterr().err


def test_of_several_processes_all_stop_at_the_same_question(monkeypatch):
    """Of two, the signal comes to one; each asks what the largest number was the time before."""
    asked = []

    def start_max(number):
        asked.append(max(number, *asked_by_other[len(asked)]))
        answer = asked[-1]
        return lambda: answer

    asked_by_other = [[0], [15], [15], [15]]
    monkeypatch.setattr(parallel, "process_place", lambda: (0, 2))
    monkeypatch.setattr(parallel, "start_max", start_max)
    with Interruption() as caught:
        caught.defer()
        assert [caught.due() for _ in range(4)] == [0, 0, 15, 15]
