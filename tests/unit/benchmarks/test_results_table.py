"""The README's table of speed: what it says, that it stays the same, and what it refuses."""

import json
from pathlib import Path

import pytest

from benchmarks import results_table
from benchmarks.results_table import BEGIN, END

GAP = f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"


def arm(rate: float, precision: str = "float32") -> dict:
    return {
        "patches_per_second": rate,
        "gflop_per_s": 2.5 * rate,
        "share_of_product_rate": 0.3749,
        "precision": precision,
    }


def of_case(ours: str, rate: float) -> dict:
    arms = {
        "ours_float32": arm(60.04),
        ours: arm(rate, ours.removeprefix("ours_")),
        "pytorch_as_released": arm(20.05),
        "pytorch_best": arm(31.96),
    }
    ratios = {"ratio_to_pytorch_as_released": 2.999, "ratio_to_pytorch_best": 1.874}
    return {"ours": ours, "arms": arms, **ratios}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    cases = {"cnn": of_case("ours_float32", 60.04), "ae_c": of_case("ours_bfloat16", 41_234.5)}
    for device, of_device in (("Zilog, 2 cores", {"e_c": cases["cnn"]}), ("H100", cases)):
        result = {"device": device, "cases": of_device}
        name = f"train_step-{device.split(',')[0].lower()}.json"
        (folder / name).write_text(json.dumps(result), encoding="utf-8")
    (folder / "growth-h100.json").write_text("{}", encoding="utf-8")
    (tmp_path / "README.md").write_text(GAP, encoding="utf-8")
    return folder


def run(results: Path, *flags: str) -> int:
    readme = results.parent / "README.md"
    return results_table.main([f"--results={results}", f"--readme={readme}", *flags])


def test_the_table(results):
    assert run(results) == 0
    text = (results.parent / "README.md").read_text(encoding="utf-8")
    begin, end = text.index(BEGIN), text.index(END)
    assert text[:begin] == "Before.\n\n" and text[end:] == f"{END}\n\nAfter.\n"
    assert text[begin:end].splitlines()[3:] == [
        "| H100 | AE-C | 41,234 (bfloat16) | 20.1 | 32.0 | 3.00 | 1.87 | 103,086 | 37% |",
        "| H100 | CNN | 60.0 | 20.1 | 32.0 | 3.00 | 1.87 | 150 | 37% |",
        "| Zilog, 2 cores | E-C | 60.0 | 20.1 | 32.0 | 3.00 | 1.87 | 150 | 37% |",
    ]
    columns = [line.count("|") for line in text[begin:end].splitlines()[1:]]
    assert columns == [10] * 5


def test_a_second_run_changes_nothing(results):
    run(results)
    readme = results.parent / "README.md"
    once = readme.read_bytes()
    assert run(results) == 0
    assert readme.read_bytes() == once


def test_check_says_whether_the_readme_is_up_to_date(results, capsys):
    readme = results.parent / "README.md"
    assert run(results, "--check") == 1
    assert "python -m benchmarks.results_table writes them into it" in capsys.readouterr().err
    assert readme.read_text(encoding="utf-8") == GAP
    run(results)
    assert run(results, "--check") == 0
    (results / "train_step-h100.json").unlink()
    assert run(results, "--check") == 1


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}"])
def test_a_readme_without_its_marks_is_refused(results, capsys, text):
    (results.parent / "README.md").write_text(text, encoding="utf-8")
    assert run(results) == 1
    assert "README.md must hold the lines" in capsys.readouterr().err
    assert (results.parent / "README.md").read_text(encoding="utf-8") == text


def test_a_folder_without_results_is_refused(results, capsys):
    for file in results.iterdir():
        file.unlink()
    assert run(results) == 1
    assert "python -m benchmarks.train_step makes one" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"device": "x"}', '{"cases": {"cnn": {}}}'])
def test_a_damaged_result_is_named(results, capsys, text):
    (results / "train_step-h100.json").write_text(text, encoding="utf-8")
    assert run(results) == 1
    assert "train_step-h100.json is no result" in capsys.readouterr().err
