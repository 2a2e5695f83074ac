"""The command `coala`: its subcommands, what it says of mistakes, and what a folder is."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from coala_jax.data_prep import from_folder
from coala_jax.data_prep.sample_corpus import __main__ as sample_corpus

from coala_jax import cli, storage
from coala_jax import main as training_program
from coala_jax.cli import demo, info, train
from coala_jax.default_config import get_config
from tests.synthetic import tiny_model, write_random_dataset
from tests.training_record import write_record

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: coala {name} ") and f"\n    coala {name} " in shown
    assert f"coala {name}" == importlib.import_module(cli.COMMANDS[name][0]).PROGRAM


def test_help_of_training_lists_the_keys_with_their_comments(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    assert "  loss.temperature = 0.1\n      tau of Eq. 11" in capsys.readouterr().out


HELP = """
import sys
from coala_jax import cli
for words in (["--help"], ["train", "--help"], ["verify", "--help"], ["evaluate", "--help"]):
    try:
        assert cli.main(words) == 0
    except SystemExit as end:
        assert not end.code
print("loaded", {"jax", "librosa"} & sys.modules.keys())
"""


def test_help_loads_neither_jax_nor_librosa():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert done.stdout.endswith("loaded set()\n"), done.stderr
    assert "  train     trains a model" in done.stdout


def test_without_a_command_it_helps_and_it_knows_its_version(capsys):
    assert cli.main([]) == 0
    assert cli.main(["--version"]) == 0
    assert "usage: coala COMMAND" in (shown := capsys.readouterr().out)
    assert shown.endswith("coala_jax 0.1.0\n")


LISTS = "Fix: coala {} --help lists the flags"
MISTAKES = {
    "trian": "coala: trian is unknown; did you mean train? Fix: coala --help lists the commands",
    "sing": "coala: sing is unknown. Fix: coala --help lists the commands",
    "train": f"coala train: CONFIG is missing. {LISTS.format('train')}",
    "train quickstrat --data=d": (
        "coala train: quickstrat: no such config; did you mean quickstart? Fix: name ae_c, cnn, "
        "e_c, quickstart or a file of yours, ./my.py"
    ),
    "train ./none.py --data=d": (
        "coala train: ./none.py: no such file. Fix: name ae_c, cnn, e_c, quickstart or a file of "
        "yours, ./my.py"
    ),
    "train ./modeless.py:released --data=d": (
        "coala train: ./modeless.py: its get_config takes no mode. Fix: leave out :released"
    ),
    "train ./empty.py --data=d": (
        "coala train: ./empty.py: it has no function get_config. Fix: write one"
    ),
    "train ./broken.py --data=d": (
        f"coala train: ./broken.py: KeyError: 'x'. {LISTS.format('train')}"
    ),
    "train quickstart:novel --data=d": (
        "coala train: quickstart: the config's mode is 'novel'; it must be paper or released. "
        f"{LISTS.format('train')}"
    ),
    "train quickstart": (
        "coala train: --data is missing. Fix: add the dataset, such as --data=dataset/mine"
    ),
    "train quickstart --dataset=d": (
        f"coala train: --dataset is unknown; did you mean --data? {LISTS.format('train')}"
    ),
    "train quickstart --data=d --set train.epochs=1.5": (
        f"coala train: train.epochs is '1.5'; it must be a whole number. {LISTS.format('train')}"
    ),
    "train quickstart --data=d --set loss.tau=1": (
        "coala train: loss.tau does not exist; the nearest key is loss.temperature. "
        f"{LISTS.format('train')}"
    ),
    "train quickstart --data=d --set train.epochs": (
        "coala train: --set train.epochs: no value. Fix: --set train.epochs=VALUE"
    ),
    "prepare --audio=a --out=b --taggs=c": (
        f"coala prepare: --taggs is unknown; did you mean --tags? {LISTS.format('prepare')}"
    ),
    "prepare --audio=a --tags=b --out=c --validation-fraction=2": (
        "coala prepare: --validation_fraction is 2.0; it must be between 0 and 1. "
        f"{LISTS.format('prepare')}"
    ),
    "prepare --audio=a --tags=b --out=c --noise=-1": (
        "coala prepare: --noise is -1.0; it must be at least 0 and finite. "
        f"{LISTS.format('prepare')}"
    ),
    "evaluate --model=mfcc --data=d --out=o": (
        "coala evaluate: --data and --audio go together: descriptors need the sounds. "
        f"{LISTS.format('evaluate')}"
    ),
    "verify": f"coala verify: FOLDER is missing. {LISTS.format('verify')}",
    "demo --corpus=radio": (
        f"coala demo: --corpus is 'radio'; it must be debian or synthetic. {LISTS.format('demo')}"
    ),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_with_exit_code_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    imports = "from coala_jax.default_config import get_config as make\n"
    Path("modeless.py").write_text(imports + "def get_config():\n    return make()\n")
    Path("empty.py").write_text(imports)
    Path("broken.py").write_text("{}['x']")
    try:
        code = cli.main(words.split())
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert (code, captured.err, captured.out) == (2, f"{MISTAKES[words]}\n", "")


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


# What `main.run` is handed, from the flags of the training module.
MODULE = """
import json, sys
from absl import app
from coala_jax import main

def run(config, workdir, command):
    print(json.dumps([config.to_dict(), str(workdir), config.is_locked, command]))
    assert "jax" not in sys.modules

main.run = run
app.run(main.main, flags_parser=main.parse)
"""


def test_a_command_trains_with_the_settings_of_the_module(monkeypatch):
    given = {
        "loss.temperature": "1", "train.epochs": "3", "data.placement": "host",
        "loss.equal_tags_are_negatives": "false",
    }  # fmt: skip
    flags = [f"--config={ROOT}/configs/quickstart.py:released", "--workdir=w"]
    flags += ["--config.data.path=d/x", *(f"--config.{k}={v}" for k, v in given.items())]
    module = subprocess.run(
        [sys.executable, "-c", MODULE, *flags], cwd=ROOT, env=os.environ, capture_output=True
    )
    config, workdir, is_locked, command = json.loads(module.stdout)
    assert command == ["python", "-m", "coala_jax.main", *flags]
    handed = []
    monkeypatch.setattr(training_program, "run", lambda *words: handed.append(words))
    settings = [word for pair in given.items() for word in ("--set", "=".join(pair))]
    words = ["quickstart:released", "--data=d/x", *settings, "--workdir=w"]
    assert cli.main(["train", *words]) == 0
    ((ours, ours_workdir, ours_command),) = handed
    assert (ours.to_dict(), str(ours_workdir), ours.is_locked) == (config, workdir, is_locked)
    assert repr(ours.loss.temperature) == "1.0"
    assert ours_command == ["coala", "train", *words]


def test_a_config_of_ones_own_and_the_folder_of_a_run_that_is_not_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = (ROOT / "configs" / "cnn.py").read_text().replace("epochs = 20", "epochs = 7")
    Path("my.py").write_text(source)

    def settings(*words):
        return train.settings_of(train.parser().parse_args(words))

    config, workdir = settings("./my.py", "--data=dataset/mine/")
    assert (config.case, config.train.epochs, config.data.path) == ("cnn", 7, "dataset/mine/")
    assert workdir == Path("runs/my-mine")
    assert settings("my.py:released", "--data=.")[1] == Path(f"runs/my-released-{tmp_path.name}")
    assert settings("ae_c", "--data=gs://bucket/birds")[1] == Path("runs/ae_c-birds")
    assert settings("ae_c", "--set=data.path=d")[0].data.path == "d"


def test_the_configs_are_those_of_the_folder():
    assert train.config_names() == ["ae_c", "cnn", "e_c", "quickstart"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_ctrl_c_is_one_sentence(name, monkeypatch, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(cli.COMMANDS[name][0]), "main", interrupted)
    assert cli.main([name]) == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"coala {name}: interrupted. Fix: ")


def test_the_demo_stops_at_the_step_that_fails(monkeypatch, caplog):
    done = []

    def step(name, code):
        return lambda given: done.append((name, given)) or code

    monkeypatch.setattr(sample_corpus, "main", step("corpus", 0))
    monkeypatch.setattr(from_folder, "main", step("prepare", 0))
    monkeypatch.setattr(train, "main", step("train", 3))
    with caplog.at_level("INFO", logger="absl"):
        assert demo.main(["--corpus=synthetic", "--workdir=w"]) == 3
    tables = ["--audio=corpus/synthetic/audio", "--tags=corpus/synthetic/sounds.csv"]
    assert done == [
        ("corpus", ["--corpus=synthetic", "--out=corpus/synthetic"]),
        ("prepare", [*tables, "--out=dataset/synthetic", "--validation_fraction=0.2"]),
        ("train", ["quickstart", "--data=dataset/synthetic", "--workdir=w"]),
    ]
    assert "coala train quickstart --data=dataset/synthetic --workdir=w" in caplog.text
    done.clear()
    monkeypatch.setattr(from_folder, "main", step("prepare", 1))
    assert demo.main(["--corpus=synthetic"]) == 1
    assert [name for name, _ in done] == ["corpus", "prepare"]


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


def test_info_of_a_model_and_its_run(folder):
    model, run = info.describe(folder / "finished" / "model"), info.describe(folder / "finished")
    assert (model["kind"], model["case"], model["filters"], model["tags"]) == (
        "model",
        "ae_c",
        2,
        6,
    )
    assert model["embedding_values"] == 18 and model["most_frequent_tags"][0] == "tag5"
    assert model["digest"] == tiny_model("ae_c").digest == run["model_digest"]
    assert model["dataset_digest"] == run["dataset_digest"] == "5" * 64
    assert (run["kind"], run["state"], run["filters"]) == ("run", "finished", 128)
    assert run["command"] == "python -m coala_jax.main --workdir=w"
    assert model["front_end"] == run["front_end"]
    assert "state  " in info.text_of(run)
    begun = info.describe(folder / "begun")
    assert begun["state"] == "not finished, 2 of 200 epochs done" and "model" not in begun


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
