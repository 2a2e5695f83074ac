"""From records to reports: each record is found, rendered whole, and rendered again later."""

import subprocess
import sys

import pytest
from matplotlib.image import imread

from coala_jax import storage
from coala_jax.reporting import __main__ as program
from coala_jax.reporting import report, training_report
from tests.training_record import FIGURES, write_metrics, write_record

PLOTS = ["training_curves.png", "reconstructions.png", "embedding_map.png"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, its record, and the files that were rendered."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, write_record(workdir), report.render(workdir)


def test_a_finished_run_has_a_report_that_shows_its_plots(finished):
    workdir, record, written = finished
    assert written == [workdir / name for name in ("report.md", *PLOTS)]
    text = written[0].read_text()
    assert "by their sources" not in text
    for name in PLOTS:
        assert f"]({name})" in text
        assert imread(workdir / name).shape[1] == 1200
    assert training_report.table(record) in text
    for told in ("54 sounds", "2 epochs", "validation loss 2.8", record["command"], "jax 0.1"):
        assert told in text
    assert "## Tag retrieval on 2 validation sounds, epoch 1\n" in text
    assert training_report.choice(record) in text


def test_rendered_again_later_every_byte_is_the_same(finished, capsys):
    workdir, _, written = finished
    before = [path.read_bytes() for path in written]
    assert not any(mark in data for mark in (b"tEXt", b"tIME") for data in before[1:])
    program.main([str(workdir)])
    assert capsys.readouterr().out.splitlines() == [str(path) for path in written]
    assert [path.read_bytes() for path in written] == before


def test_the_table_has_a_row_for_each_model_and_a_dash_for_what_was_not_measured(finished):
    _, record, _ = finished
    header, _, *rows = training_report.table(record).splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in (header, *rows)]
    assert cells[0] == ["", "macro AUC", "MRR", "MAP", "recall@10"]
    assert cells[1] == ["trained", "0.912", "0.500", "0.250", "1.000"]
    assert [row[0] for row in cells[2:]] == ["untrained", "vote", "chance", "popularity"]
    assert len({len(row) for row in (header, *rows)}) == 1  # aligned
    few = {**record, "retrieval": {"trained": {**FIGURES, "macro_auc": None}}}
    shown = training_report.table(few)
    assert shown.splitlines()[2].split()[3] == "-"
    assert "--validation_fraction" in shown


def test_what_is_not_recorded_or_not_finished_is_left_out(tmp_path):
    write_record(tmp_path, reconstructions=None, map=None, bank=None, source_weights="a=0.5")
    assert [path.name for path in report.render(tmp_path)] == ["report.md", PLOTS[0]]
    assert "by their sources: a=0.5; others once." in (tmp_path / "report.md").read_text()
    (tmp_path / "results.json").unlink()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "epo')  # is being written
    assert [path.name for path in report.render(tmp_path)] == ["report.md", PLOTS[0]]
    assert "not finished" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        (lambda w: (w / "reconstructions.npz").write_bytes(b"PK"), "reconstructions.npz"),
        (lambda w: write_record(w, format=99), "results.json"),
        (lambda w: write_record(w, kind="novel"), "results.json"),
        (lambda w: (w / "results.json").write_text("{"), "results.json"),
        (lambda w: (w / "metrics.jsonl").write_text("1\n"), "metrics.jsonl"),
        (lambda w: (w / "metrics.jsonl").write_text('{"kind": "tr'), "metrics.jsonl"),
        (lambda w: (w / "metrics.jsonl").unlink(), "metrics.jsonl"),
        (lambda w: write_metrics(w, epochs=1), "metrics.jsonl"),
        (lambda w: [path.unlink() for path in w.iterdir()], "manifest.json"),
    ],
    ids=["arrays", "format", "kind", "JSON", "line", "no epoch", "no metrics", "cut", "nothing"],
)
def test_a_damaged_record_ends_the_program_with_its_path(damage, path, tmp_path, capsys):
    write_record(tmp_path)
    damage(tmp_path)
    assert program.main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("coala_jax.reporting: ") and str(tmp_path) in error and path in error
    assert not list(tmp_path.glob("*.png"))


def test_a_longer_run_that_is_not_finished_says_whose_model_it_is(tmp_path):
    write_record(tmp_path, epochs=1)
    report.render(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "After 2 epochs" in text and "are of its first 1 epochs." in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "epoch 1 of 2, which has the best macro AUC (0.731) on 4 validation sounds. The table"
             " is of the other 2, which had no part in the choice."),
        ({"macro_auc": None}, "last epoch, 2: every tag has too few of the 4 validation sounds that"
                              " would choose one by macro AUC. The table is of the other 2,"),
        ({"rule": "last", "macro_auc": None, "selection_sounds": 0, "reported_sounds": 6},
         "last epoch, 2; the table is of all 6 validation sounds."),
        ({"patience": 3}, "Training ended early: 3 evaluations without a better one."),
    ],
)  # fmt: skip
def test_it_says_which_epoch_is_kept_why_and_what_the_table_is_of(changes, told, finished):
    _, record, _ = finished
    record = {**record, "kept": record["kept"] | changes, "stopped_early": "patience" in changes}
    shown = " ".join(training_report.choice(record).split())
    assert told in shown and ("early" in shown) == record["stopped_early"]


def test_tensorboard_is_named_only_where_it_is_installed(tmp_path, monkeypatch):
    record = write_record(tmp_path)
    (tmp_path / "tensorboard").mkdir()
    for spec in (None, object()):
        monkeypatch.setattr(training_report.importlib.util, "find_spec", lambda _, s=spec: s)
        shown = training_report.summary(record, tmp_path)
        assert (str(tmp_path / "tensorboard") in shown) == (spec is not None)
        assert "Retrieval on 2 validation sounds of random:" in shown
        assert training_report.choice(record) in shown


def test_each_record_goes_to_its_renderer(tmp_path, monkeypatch):
    for kind in list(report.RENDERERS):
        monkeypatch.setitem(report.RENDERERS, kind, lambda folder, kind=kind: [folder / kind])
    storage.write_json(tmp_path / "manifest.json", {})
    assert report.render(tmp_path) == [tmp_path / "dataset"]
    for kind in ("evaluation", "training"):
        storage.write_json(tmp_path / "results.json", {"kind": kind})
        assert report.render(tmp_path) == [tmp_path / "dataset", tmp_path / kind]


def test_rendering_needs_neither_jax_nor_a_display(tmp_path):
    write_metrics(tmp_path, epochs=1)
    code = (
        "import sys; from coala_jax.reporting import __main__; __main__.main(sys.argv[1:]);"
        "print({'matplotlib.pyplot', 'jax', 'sklearn', 'torch', 'tensorflow'} & sys.modules.keys())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == "set()"
