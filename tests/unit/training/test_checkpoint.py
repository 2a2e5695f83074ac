import json
from contextlib import closing

import jax
import numpy as np
import optax
import pytest

from coala_jax.models.coala import build_model
from coala_jax.training import checkpoint, parallel, steps
from tests.synthetic import tiny_config


@pytest.fixture(scope="module")
def state():
    model = build_model("e_c", tiny_config().model, tags=5)
    return steps.initial_state(model, optax.adam(0.001), seed=0)


@pytest.mark.parametrize("devices", [1, 4])
def test_what_is_saved_is_restored_bit_for_bit_and_where_it_belongs(state, devices, tmp_path):
    placed = parallel.place_state(state.replace(step=state.step + 7), jax.devices()[:devices])
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        checkpoints.save(placed)
    empty = parallel.place_state(
        jax.tree.map(lambda leaf: leaf * 0, state), jax.devices()[4 : 4 + devices]
    )
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        restored = checkpoints.restore_latest(empty)
    jax.tree.map(np.testing.assert_array_equal, restored, placed)
    for leaf, like in zip(jax.tree.leaves(restored), jax.tree.leaves(empty), strict=True):
        assert (leaf.sharding, leaf.dtype) == (like.sharding, like.dtype)


def test_the_newest_are_kept_and_the_newest_of_all_is_restored(state, tmp_path):
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        assert checkpoints.latest() == "none was saved yet"
        for step in (1, 2, 3):
            checkpoints.save(state.replace(step=np.int32(step)))
        assert checkpoints.latest() == str(tmp_path / "checkpoints" / "3")
        assert int(checkpoints.restore_latest(state).step) == 3
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]


def test_without_a_checkpoint_the_state_is_the_one_given(state, tmp_path):
    with closing(checkpoint.Checkpoints(tmp_path, keep=1)) as checkpoints:
        assert checkpoints.restore_latest(state) is state


def test_a_folder_belongs_to_one_config_and_one_dataset(tmp_path):
    config = tiny_config(data__path="here")
    checkpoint.check_or_write_config(tmp_path / "w", config, "digest")
    assert json.loads((tmp_path / "w" / "config.json").read_text())["train"]["batch_size"] == 8
    checkpoint.check_or_write_config(tmp_path / "w", config, "digest")


@pytest.mark.parametrize(
    "free",
    [
        {"train__epochs": 9},
        {"data__path": "there"},
        {"data__placement": "host"},
        {"train__steps_per_call": 5},
        {"checkpoint__keep": 5},
        {"eval__every_epochs": 0},
        {"report__reconstructions": 0},
    ],
)
def test_how_long_where_and_what_is_shown_may_change(free, tmp_path):
    checkpoint.check_or_write_config(tmp_path, tiny_config(data__path="here"), "digest")
    checkpoint.check_or_write_config(
        tmp_path, tiny_config(**({"data__path": "here"} | free)), "digest"
    )


@pytest.mark.parametrize(
    ("change", "digest", "message"),
    [
        ({"seed": 1}, "digest", "has seed = 0, and this one 1. Fix: choose another --workdir"),
        ({"train__batch_size": 16}, "digest", "has train.batch_size = 8, and this one 16"),
        ({"data__patch_dtype": "uint8"}, "digest", "has data.patch_dtype = 'float32', and this"),
        ({}, "other", "was trained on another dataset. Fix: choose another --workdir"),
    ],
)
def test_what_would_change_the_result_may_not(change, digest, message, tmp_path):
    checkpoint.check_or_write_config(tmp_path, tiny_config(), "digest")
    with pytest.raises(ValueError, match=message):
        checkpoint.check_or_write_config(tmp_path, tiny_config(**change), digest)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"data_digest": "dig', "not valid JSON in UTF-8"),
        ("[]", "not the config of a run"),
        ('{"seed": 0}', "not the config of a run"),
    ],
)
def test_a_damaged_config_is_named_and_kept(content, reason, tmp_path):
    (tmp_path / "config.json").write_text(content)
    message = (
        rf"config\.json: {reason}.*Fix: choose another --workdir; or, if .*move that file aside"
    )
    with pytest.raises(ValueError, match=message):
        checkpoint.check_or_write_config(tmp_path, tiny_config(), "digest")
    assert (tmp_path / "config.json").read_text() == content


def without(name):
    return lambda folder: next(folder.rglob(name)).unlink()


def cut_off(name):
    def cut(folder):
        for path in folder.rglob(name):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:10])

    return cut


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(without("manifest.ocdbt"), "ValueError: NOT_FOUND: .*", id="a-file-gone"),
        pytest.param(without("_METADATA"), "ValueError: .*", id="metadata-gone"),
        pytest.param(cut_off("manifest.ocdbt"), "ValueError: DATA_LOSS: .*", id="cut-off"),
        pytest.param(cut_off("_METADATA"), "JSONDecodeError: .*", id="metadata-cut-off"),
        pytest.param(cut_off("*"), r"\w+: .*", id="all-cut-off"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("failing_restore")
def test_a_damaged_checkpoint_is_named_and_the_one_before_goes_on(state, damage, reason, tmp_path):
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state.replace(step=np.int32(step)))
    newest = tmp_path / "checkpoints" / "2"
    damage(newest)
    message = (
        rf"^{newest}: this checkpoint is damaged or incomplete: {reason}\. Fix: move that folder "
        rf"aside, such as to {tmp_path}/damaged-2; the run then goes on from the checkpoint before"
    )
    with (
        closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints,
        pytest.raises(ValueError, match=message) as error,
    ):
        checkpoints.restore_latest(state)
    assert "tensorstore_spec" not in str(error.value)
    newest.rename(tmp_path / "damaged-2")
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        assert int(checkpoints.restore_latest(state).step) == 1


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(PermissionError(13, "Permission denied", "_METADATA"), id="python"),
        pytest.param(OSError(5, "Input/output error", "_METADATA"), id="disk"),
        # As TensorStore and Orbax 0.12 say it of a file without permission, and of a failing disk.
        pytest.param(
            ValueError("PERMISSION_DENIED: Error reading: Permission denied [tensorstore_spec='{'"),
            id="tensorstore",
        ),
        pytest.param(
            ValueError("UNKNOWN: Error reading: Input/output error [os_error_code='5']"),
            id="tensorstore-disk",
        ),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_what_cannot_be_read_is_not_called_damaged(state, failure, wrapped, tmp_path, monkeypatch):
    """Root may read everything, so that Orbax is made to fail."""

    def fail(*_, **__):
        if wrapped:
            raise Exception("Encountered error while reading array index") from failure
        raise failure

    with closing(checkpoint.Checkpoints(tmp_path, keep=1)) as checkpoints:
        checkpoints.save(state)
        monkeypatch.setattr(checkpoints._manager, "restore", fail)
        message = (
            rf"checkpoints/0: this checkpoint cannot be read, which says nothing against its "
            rf"content: {type(failure).__name__}: .*(denied|error).*\. Fix: mend that and start"
        )
        with pytest.raises(ValueError, match=message):
            checkpoints.restore_latest(state)


@pytest.mark.parametrize(
    ("tags", "optimizer"),
    [
        pytest.param(6, optax.adam(0.001), id="shape"),
        pytest.param(5, optax.sgd(0.001), id="structure"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("failing_restore")
def test_a_checkpoint_of_another_model_is_not_called_damaged(state, tags, optimizer, tmp_path):
    with closing(checkpoint.Checkpoints(tmp_path, keep=1)) as checkpoints:
        checkpoints.save(state)
    other = steps.initial_state(build_model("e_c", tiny_config().model, tags=tags), optimizer, 0)
    message = (
        r"checkpoints/0: this checkpoint is of another model or optimizer .*: ValueError: .*Fix"
    )
    with (
        closing(checkpoint.Checkpoints(tmp_path, keep=1)) as checkpoints,
        pytest.raises(ValueError, match=message),
    ):
        checkpoints.restore_latest(other)
