"""The arithmetic of `benchmarks.train_step`, and that no figure comes of two different models."""

import json
import time

import pytest

from benchmarks import pytorch_arm, results_table, train_step
from benchmarks.comparison import AS_RELEASED, BEST, arm_figures, disagreement, ratios
from benchmarks.measure import BenchmarkError
from benchmarks.pytorch_arm import Form, choose_best
from benchmarks.results_table import BEGIN, END
from benchmarks.workload import Sizes, make_workload, step_flop

SHAPES = Sizes(batch=3)

# Millions of multiply-adds of a convolution's products for one patch, without those with padding:
# of a side of n outputs 4 n - 2 taps are real.
ENCODER_M = [190**2 * 128 / 1e6] + [(4 * n - 2) ** 2 * 128 * 128 / 1e6 for n in (24, 12, 6, 3)]
TAG_NETWORK_M = (1000 * 512 + 512 * 512 + 512 * 1152) / 1e6
TRANSFORM_M = 1152 * 1152 / 1e6


def test_the_products_of_a_step_at_the_papers_sizes():
    cases = train_step.CASES
    flop = {case: step_flop(make_workload(case, SHAPES).config, 1000) for case in cases}
    first_m = ENCODER_M[0] + 1000 * 512 / 1e6  # whose input has no gradient
    decoders_m = sum(ENCODER_M) + TAG_NETWORK_M
    expected_m = 6 * (decoders_m + TRANSFORM_M) - first_m
    assert flop["ae_c"] == pytest.approx(2e6 * expected_m, rel=1e-12)
    assert flop["ae_c"] == pytest.approx(2.35e9, rel=2e-3)
    assert flop["e_c"] == pytest.approx(flop["ae_c"] - 6e6 * decoders_m, rel=1e-12)
    cnn_m = 3 * (sum(ENCODER_M) + TRANSFORM_M + 1152 * 1000 / 1e6) - ENCODER_M[0]
    assert flop["cnn"] == pytest.approx(2e6 * cnn_m, rel=1e-12)


def test_figures_are_those_of_the_median_round():
    figures = arm_figures([2.0, 8.0, 4.0], 128, flop=2.5e9, product_rate=400.0)
    assert figures == {
        "patches_per_second": 32,
        "patches_per_second_lowest": 16,
        "patches_per_second_highest": 64,
        "step_s": [2.0, 8.0, 4.0],
        "gflop_per_s": 80,
        "share_of_product_rate": 0.2,
    }


def test_ratios_are_those_of_our_fastest_arm():
    rates = {"ours_float32": 60, "ours_bfloat16": 90, AS_RELEASED: 20, BEST: 45}
    found = ratios({name: {"patches_per_second": rate} for name, rate in rates.items()})
    assert found == {
        "ours": "ours_bfloat16",
        "ratio_to_pytorch_as_released": 4.5,
        "ratio_to_pytorch_best": 2,
    }


class Losses:
    """An arm with known losses."""

    def __init__(self, *losses):
        self.left = list(losses)

    def take(self, count):
        assert count == 1
        return self.left.pop(0)


def test_disagreement_by_hand():
    ours = Losses({"loss": 8.0, "tag_loss": 0.5}, {"loss": 6.0, "tag_loss": 0.4})
    theirs = Losses({"loss": 8.0 + 2**-18, "tag_loss": 0.5}, {"loss": 6.01, "tag_loss": 0.4})
    largest = disagreement({"ours": ours, "theirs": theirs})
    assert largest == {"losses": 2**-21, "update": pytest.approx(0.01 / 2)}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"loss": 8.0002}, {"loss": 6.0}, "losses"),
        ({"loss": 8.0}, {"loss": 6.03}, "update"),
        ({"loss": 8.0}, {"loss": 8.0}, "update"),
        ({"loss": float("nan")}, {"loss": 6.0}, "losses"),
        ({"tag_loss": 8.0}, {"tag_loss": 6.0}, "tag_loss"),
    ],
)
def test_arms_that_train_different_models_are_refused(before, after, said):
    arms = {"ours": Losses({"loss": 8.0}, {"loss": 6.0}), "theirs": Losses(before, after)}
    with pytest.raises(BenchmarkError, match=f"theirs.*{said}"):
        disagreement(arms)


@pytest.mark.parametrize("compiled", [0.5, 3.5, RuntimeError("no compiler\nthen 40 lines")])
def test_the_fastest_of_pytorchs_forms_is_chosen(compiled, monkeypatch):
    eager, last = Form(), Form(channels_last=True)
    best = Form(channels_last=True, compiled="default")
    step_s = {eager: 4.0, last: 3.0, best: compiled}

    def arm(_workload, form, _weights):
        if isinstance(step_s[form], Exception):
            raise step_s[form]
        return Losses(*[{}] * 9)

    monkeypatch.setattr(pytorch_arm, "PytorchArm", arm)
    chosen = iter([4.0, 5.0, 3.0, 3.0, compiled, compiled])
    monkeypatch.setattr(pytorch_arm, "seconds_per_step", lambda *_: next(chosen))
    form, _, tried = choose_best(None, {}, 1)
    assert form == (best if compiled == 0.5 else last)
    failed = isinstance(compiled, Exception)
    assert [*tried.values()] == [4.0, 3.0, "failed: no compiler" if failed else compiled]


def test_what_takes_too_long_is_stopped():
    with pytest.raises(TimeoutError), pytorch_arm._time_limit(0.01):
        end_s = time.monotonic() + 5
        while time.monotonic() < end_s:
            pass


def test_unlike_devices_are_not_compared(monkeypatch, capsys):
    monkeypatch.setattr(pytorch_arm, "on_gpu", lambda: True)
    assert train_step.main([]) == 1
    assert "CUDA_VISIBLE_DEVICES" in capsys.readouterr().err


# --- The table of the docs ------------------------------------------------------------------------


def arm(rate, precision="float32"):
    return {
        "patches_per_second": rate,
        "gflop_per_s": 2.5 * rate,
        "share_of_product_rate": 0.3749,
        "precision": precision,
    }


@pytest.fixture
def results(tmp_path):
    (tmp_path / "results").mkdir()
    arms = {"ours_bfloat16": arm(41_234.5, "bfloat16"), AS_RELEASED: arm(20.05), BEST: arm(31.96)}
    case = {"arms": arms, "ours": "ours_bfloat16"}
    case |= {f"ratio_to_{AS_RELEASED}": 2.999, f"ratio_to_{BEST}": 1.874}
    result = {"device": "H100", "cases": {"cnn": case, "ae_c": case}}
    (tmp_path / "results" / "train_step-h100.json").write_text(json.dumps(result))
    (tmp_path / "speed.md").write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    return tmp_path


def write_table(results, *flags):
    places = [f"--results={results / 'results'}", f"--page={results / 'speed.md'}"]
    return results_table.main([*places, *flags])


def test_the_table(results):
    assert write_table(results, "--check") == 1
    assert "\nold\n" in (results / "speed.md").read_text()
    assert write_table(results) == write_table(results, "--check") == 0
    before, *rows, end, _, after = (
        (results / "speed.md").read_text().split("\n\n", 1)[1].split("\n")[:-1]
    )
    assert (before, end, after) == (BEGIN, END, "After.")
    figures = "41,234 (bfloat16) | 20.1 | 32.0 | 3.00 | 1.87 | 103,086 | 37%"
    assert rows[2:] == [f"| H100 | {case} | {figures} |" for case in ("AE-C", "CNN")]
    assert {row.count("|") for row in rows} == {10}


def test_the_docs_show_the_results():
    assert results_table.main(["--check"]) == 0


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}"])
def test_a_page_without_its_marks_is_left_alone(results, capsys, text):
    (results / "speed.md").write_text(text)
    assert write_table(results) == 1
    assert "speed.md" in capsys.readouterr().err
    assert (results / "speed.md").read_text() == text


@pytest.mark.parametrize("text", ["{", "[]", '{"device": "x"}', '{"cases": {"cnn": {}}}'])
def test_an_invalid_result_is_named(results, capsys, text):
    (results / "results" / "train_step-h100.json").write_text(text)
    assert write_table(results) == 1
    assert "train_step-h100.json" in capsys.readouterr().err
