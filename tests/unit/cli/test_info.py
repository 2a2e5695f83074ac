"""coala info and coala verify: what a folder is, and whether it is whole."""

import json

import pytest

from coala_jax import cli, storage
from coala_jax.cli import info
from coala_jax.default_config import get_config
from coala_jax.models.default import default_model_folder
from tests.synthetic import tiny_model, write_random_dataset
from tests.training_record import write_record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset, a run that is finished with its model, and one that is not."""
    folder = tmp_path_factory.mktemp("cli")
    write_random_dataset(folder / "mine", train=4, validation=2)
    config = {"data_digest": "5" * 64, **get_config().to_dict()}
    for name in ("finished", "begun"):
        (folder / name).mkdir()
        write_record(folder / name)
        storage.write_json(folder / name / "config.json", config)
    tiny_model("ae_c").save_pretrained(folder / "finished" / "model")
    (folder / "begun" / "results.json").unlink()
    return folder


def test_info_of_a_dataset(folder, capsys):
    assert cli.main(["info", str(folder / "mine"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["corpus"], found["tags"]) == ("dataset", "random", 6)
    assert found["patches"] == {"train": 4, "validation": 2}
    assert found["front_end"]["sample_rate_hz"] == 22_000
    assert len(found["digest"]) == 64 and found["format"] == 4
    assert cli.main(["info", str(folder / "mine")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "dataset"]
    assert "patches         train 4, validation 2" in lines


def test_info_of_a_model_and_its_run(folder, tmp_path):
    model, run = info.describe(folder / "finished" / "model"), info.describe(folder / "finished")
    assert (model["kind"], model["case"], model["filters"], model["tags"]) == (
        "model",
        "ae_c",
        2,
        6,
    )
    assert (model["pooling"], model["embedding_values"]) == ("mean", 18)
    tiny_model("ae_c", pooling="layers").save_pretrained(tmp_path / "model")
    found = info.describe(tmp_path / "model")
    assert (found["pooling"], found["embedding_values"]) == ("layers", 60)
    assert model["most_frequent_tags"][0] == "tag5"
    assert model["digest"] == tiny_model("ae_c").digest == run["model_digest"]
    assert model["dataset_digest"] == run["dataset_digest"] == "5" * 64
    assert (run["kind"], run["state"], run["filters"]) == ("run", "finished", 128)
    assert run["command"] == "python -m coala_jax.main --workdir=w"
    assert model["front_end"] == run["front_end"]
    assert "state  " in info.text_of(run)
    begun = info.describe(folder / "begun")
    assert begun["state"] == "not finished, 2 of 200 epochs done" and "model" not in begun


def test_without_a_folder_it_is_the_built_in_model(capsys):
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    folder = default_model_folder()
    assert found == info.describe(folder) and found["kind"] == "model"
    assert {"digest", "tags", "level", "pooling", "case"} <= found.keys()
    files = ("model.safetensors", "bank.safetensors")
    assert found["size_bytes"] == sum((folder / file).stat().st_size for file in files)
    assert cli.main(["verify"]) == 0
    assert f"digest {found['digest']}: valid" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_folder_that_is_nothing_is_named(command, tmp_path, capsys):
    assert cli.main([command, str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"coala {command}: {tmp_path}: it has none of manifest.json")
    assert cli.main([command, str(tmp_path / "x")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_description_that_was_edited_is_refused(folder, tmp_path, capsys):
    text = (folder / "finished" / "model" / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"tag_processing": "paper"', '"x": 1'))
    assert cli.main(["info", str(tmp_path)]) == 1
    (tmp_path / "model.json").write_text("{}")
    assert cli.main(["info", str(tmp_path)]) == 1
    edited, empty = capsys.readouterr().err.splitlines()
    assert "model.json: damaged or edited" in edited and "model.json: invalid" in empty


def test_a_model_is_verified_and_a_run_names_its_model(folder, tmp_path, capsys):
    model = folder / "finished" / "model"
    assert cli.main(["verify", str(model)]) == 0
    assert (
        capsys.readouterr().out == f"{model}: 6 tags, digest {tiny_model('ae_c').digest}: valid\n"
    )
    assert cli.main(["verify", str(folder / "finished")]) == 1
    assert f"Fix: name its model, {model}" in capsys.readouterr().err
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert "damaged" in capsys.readouterr().err
