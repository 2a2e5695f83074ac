import dataclasses
import json
import logging
import re
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coala_jax import storage
from coala_jax.training import best, checkpoint, checkpoint_errors, parallel, run_config, steps
from coala_jax.training.checkpoint import Progress
from tests.synthetic import tiny_config, tiny_model


def small_state(optimizer, rows: int = 3) -> steps.TrainState:
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((rows, 4)).astype(np.float32)
    params = {"dense": {"kernel": kernel, "bias": kernel[0]}}
    state = steps.TrainState(
        step=0,
        params=params,
        batch_stats={"norm": {"mean": kernel[1]}},
        opt_state=optimizer.init(params),
        key=np.array([1, 2], np.uint32),
    )
    return jax.tree.map(jnp.asarray, state)


@pytest.fixture(scope="module")
def state():
    return small_state(optax.adam(0.001))


def best_of(state, step: int = 5) -> best.BestModel:
    """The state's weights with a score that 32 bits do not hold, evaluated after `step`."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    variables = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, variables)
    model = dataclasses.replace(tiny_model("cnn"), variables=variables)
    return best.no_model(state).updated(model, step, {"macro_auc": 0.7})


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("kept", ["best", "last"])
def test_what_is_saved_is_restored_bit_for_bit_and_where_it_belongs(state, kept, devices, tmp_path):
    saved_best = best_of(state) if kept == "best" else None
    placed = parallel.place_state(state.replace(step=state.step + 7), jax.devices()[:devices])
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        checkpoints.save(Progress(placed, saved_best))
    empty = parallel.place_state(
        jax.tree.map(lambda leaf: leaf * 0, state), jax.devices()[4 : 4 + devices]
    )
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        like = Progress(empty, best.no_model(state) if saved_best else None)
        restored, restored_best, _ = checkpoints.restore_latest(like)
    jax.tree.map(np.testing.assert_array_equal, restored_best, saved_best)
    for leaf, like in zip(*map(jax.tree.leaves, (restored_best, saved_best)), strict=True):
        assert isinstance(leaf, np.ndarray) and leaf.dtype == like.dtype
    jax.tree.map(np.testing.assert_array_equal, restored, placed)
    for leaf, like in zip(jax.tree.leaves(restored), jax.tree.leaves(empty), strict=True):
        assert (leaf.sharding, leaf.dtype) == (like.sharding, like.dtype)


@jax.numpy_dtype_promotion("standard")  # a schedule divides a count
def test_a_decaying_rate_goes_on_where_it_was(tmp_path):
    """Both optimisers' counts are saved: the next update is that of a run that did not stop."""
    settings = tiny_config(optimizer__schedule="cosine").optimizer
    optimizer = steps.make_optimizer(settings, planned_steps=5, frozen_steps=1)
    start = small_state(optimizer)
    _, opt_state = optimizer.update(start.params, start.opt_state)
    with closing(checkpoint.Checkpoints(tmp_path, keep=1)) as checkpoints:
        checkpoints.save(Progress(start.replace(step=start.step + 1, opt_state=opt_state)))
    with closing(checkpoint.Checkpoints(tmp_path, keep=1)) as checkpoints:
        restored = checkpoints.restore_latest(Progress(start)).state
    found, wanted, again = (
        optimizer.update(start.params, state)[0]
        for state in (restored.opt_state, opt_state, start.opt_state)
    )
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert not np.array_equal(found["dense"]["kernel"], again["dense"]["kernel"])


def test_the_newest_are_kept_and_the_newest_of_all_is_restored(state, tmp_path):
    with closing(checkpoint.Checkpoints(tmp_path, keep=2)) as checkpoints:
        assert checkpoints.latest() == "none yet"
        for step in (1, 2, 3):
            checkpoints.save(Progress(state.replace(step=np.int32(step))))
        assert checkpoints.latest() == str(tmp_path / "checkpoints" / "3")
        assert int(checkpoints.restore_latest(Progress(state)).state.step) == 3
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["2", "2.sha256", "3", "3.sha256"]


def test_without_a_checkpoint_the_state_is_the_one_given(state, tmp_path):
    with closing(checkpoint.Checkpoints(tmp_path, keep=1)) as checkpoints:
        start = Progress(state)
        assert checkpoints.restore_latest(start) is start


@pytest.mark.parametrize(
    "free",
    [
        {},
        {"train__epochs": 9},
        {"data__path": "there"},
        {"data__placement": "host"},
        {"train__steps_per_call": 5},
        {"model__pooling": "layers"},
        {"checkpoint__keep": 5},
        {"init__model": ""},
        {"report__reconstructions": 0},
    ],
)
def test_length_place_and_reports_may_change(free, tmp_path):
    first = tiny_config(data__path="here")
    run_config.check_or_write_config(tmp_path / "w", first, "digest")
    written = (tmp_path / "w" / "config.json").read_text()
    digests = {"data_digest": "digest", "init_digest": ""}
    assert json.loads(written) == digests | first.to_dict()
    run_config.check_or_write_config(
        tmp_path / "w", tiny_config(**{"data__path": "here"} | free), "digest"
    )
    assert (tmp_path / "w" / "config.json").read_text() == written


def test_a_run_of_before_a_key_that_changes_no_result_goes_on(tmp_path):
    config = tiny_config()
    older = {"data_digest": "digest", "init_digest": "", **config.to_dict()}
    del older["model"]["pooling"]
    (tmp_path / "config.json").write_text(json.dumps(older))
    run_config.check_or_write_config(tmp_path, config, "digest")


@pytest.mark.parametrize(
    ("change", "digest", "tokens"),
    [
        ({"seed": 1}, "digest", "seed = 0 1"),
        ({"train__batch_size": 16}, "digest", "train.batch_size = 8 16"),
        ({"data__patch_dtype": "uint8"}, "digest", "data.patch_dtype = 'float32' 'uint8'"),
        ({"eval__every_epochs": 2}, "digest", "eval.every_epochs = 1 2"),
        ({"train__patience": 2}, "digest", "train.patience = 0 2"),
        ({}, "other", "another dataset"),
    ],
)
def test_what_would_change_the_result_may_not(change, digest, tokens, tmp_path):
    run_config.check_or_write_config(tmp_path, tiny_config(), "digest")
    with pytest.raises(ValueError) as error:
        run_config.check_or_write_config(tmp_path, tiny_config(**change), digest)
    assert str(tmp_path) in str(error.value)
    assert all(token in str(error.value) for token in tokens.split())


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_run_whose_rate_decays_over_its_epochs_keeps_their_number(epochs, tmp_path):
    decaying = {"optimizer__schedule": "cosine", "train__epochs": 2}
    for _ in range(2):
        run_config.check_or_write_config(tmp_path, tiny_config(**decaying), "d")
    with pytest.raises(ValueError, match=f"{tmp_path}: .*decays.*epochs = 2: with {epochs} .*Fix"):
        run_config.check_or_write_config(
            tmp_path, tiny_config(**decaying | {"train__epochs": epochs}), "d"
        )


@pytest.mark.parametrize(("first", "second"), [("", "a"), ("a", ""), ("a", "b")])
def test_another_model_to_start_from_may_not(first, second, tmp_path):
    run_config.check_or_write_config(tmp_path, tiny_config(init__model="here"), "d", first)
    run_config.check_or_write_config(tmp_path, tiny_config(init__model="there"), "d", first)
    with pytest.raises(ValueError, match=f"{tmp_path}: .*another model .*config.init.model"):
        run_config.check_or_write_config(tmp_path, tiny_config(init__model="here"), "d", second)


@pytest.mark.parametrize("content", ['{"data_digest": "dig', "[]", '{"seed": 0}'])
def test_a_damaged_config_is_named_and_kept(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError) as error:
        run_config.check_or_write_config(tmp_path, tiny_config(), "digest")
    assert str(tmp_path / "config.json") in str(error.value)
    assert (tmp_path / "config.json").read_text() == content


def without(name):
    return lambda folder: next(folder.rglob(name)).unlink()


def test_missing_beside_checkpoints_a_config_is_not_written_anew(state, tmp_path):
    """They would go on with whatever settings come."""
    run_config.check_or_write_config(tmp_path, tiny_config(), "digest")
    save(state, tmp_path, 1)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=f"{tmp_path / 'config.json'}: missing, .*Fix: "):
        run_config.check_or_write_config(tmp_path, tiny_config(), "digest")
    assert not (tmp_path / "config.json").exists()


def cut_off(name):
    def cut(folder):
        for path in folder.rglob(name):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:10])

    return cut


def flip_a_bit(folder):
    """In the arrays of the state, which Orbax restores without a word."""
    file = max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def save(state, workdir, *steps_taken):
    with closing(checkpoint.Checkpoints(workdir, keep=2)) as checkpoints:
        for step in steps_taken:
            checkpoints.save(Progress(state.replace(step=np.int32(step))))


def restore(state, workdir):
    with closing(checkpoint.Checkpoints(workdir, keep=2)) as checkpoints:
        return checkpoints.restore_latest(Progress(state)).state


DAMAGES = [
    pytest.param(without("manifest.ocdbt"), id="a-file-gone"),
    pytest.param(without("_METADATA"), id="metadata-gone"),
    pytest.param(cut_off("manifest.ocdbt"), id="cut-off"),
    pytest.param(cut_off("_METADATA"), id="metadata-cut-off"),
    pytest.param(cut_off("*"), id="all-cut-off"),
]


@pytest.mark.parametrize("damage", [*DAMAGES[:1], pytest.param(flip_a_bit, id="a-bit")])
def test_a_damaged_checkpoint_is_moved_aside_and_the_one_before_resumes(
    state, damage, tmp_path, caplog
):
    """It is named with the file, never deleted, and its step can be saved again."""
    save(state, tmp_path, 1, 2)
    newest, aside = tmp_path / "checkpoints" / "2", tmp_path / "damaged-2"
    damage(newest)
    assert int(restore(state, tmp_path).step) == 1
    assert re.search(rf"{newest}: .*2/\S+ is .*{aside}.*{newest.parent / '1'}", caplog.text)
    assert aside.is_dir() and not newest.exists()
    save(state, tmp_path, 2)
    assert int(restore(state, tmp_path).step) == 2
    damage(newest)
    assert int(restore(state, tmp_path).step) == 1
    assert sorted(path.name for path in tmp_path.glob("damaged*")) == ["damaged-2", "damaged-2-2"]


def test_without_a_whole_checkpoint_all_are_named_and_kept(state, tmp_path):
    save(state, tmp_path, 1, 2)
    checkpoints = tmp_path / "checkpoints"
    for folder in (checkpoints / "1", checkpoints / "2"):
        flip_a_bit(folder)
    with pytest.raises(ValueError, match=f"^{checkpoints}: no checkpoint is whole: 2/.*1/.*Fix: "):
        restore(state, tmp_path)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["1", "1.sha256", "2", "2.sha256"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("failing_restore")
def test_a_damaged_checkpoint_without_checksums_is_named(state, damage, tmp_path):
    """As an earlier version left it. It is moved aside as the message says."""
    save(state, tmp_path, 1, 2)
    newest, aside = tmp_path / "checkpoints" / "2", tmp_path / "damaged-2"
    newest.with_name("2.sha256").unlink()
    damage(newest)
    with pytest.raises(ValueError, match=f"^{newest}: .*damaged") as error:
        restore(state, tmp_path)
    assert str(aside) in str(error.value)
    assert "tensorstore_spec" not in str(error.value)
    newest.rename(aside)
    assert int(restore(state, tmp_path).step) == 1


def test_a_checkpoint_without_checksums_is_restored_with_a_warning(state, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    save(state, tmp_path, 1)
    assert not caplog.records
    (tmp_path / "checkpoints" / "1.sha256").unlink()
    assert int(restore(state, tmp_path).step) == 1
    assert re.search(rf"{tmp_path / 'checkpoints' / '1'}: .*no checksums", caplog.text)


UNREADABLE = {
    "python": PermissionError(13, "Permission denied", "_METADATA"),
    "disk": OSError(5, "Input/output error", "_METADATA"),
    # As TensorStore and Orbax 0.12 say it of a file without permission, and of a failing disk.
    "tensorstore": ValueError("PERMISSION_DENIED: Permission denied [tensorstore_spec='{'"),
    "tensorstore-disk": ValueError("UNKNOWN: Input/output error [os_error_code='5']"),
}


@pytest.mark.parametrize("failure", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_what_cannot_be_read_is_not_called_damaged(failure, wrapped, tmp_path):
    """Root may read everything, so that Orbax is made to fail."""
    if wrapped:
        try:
            raise Exception("Encountered error while reading array index") from failure
        except Exception as error:
            failure = error
    message = checkpoint_errors.restore_error(tmp_path / "0", failure)
    assert message.startswith(f"{tmp_path / '0'}: ")
    assert "cannot be read" in message and "damaged" not in message
    assert "denied" in message or "Input/output error" in message


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(small_state(optax.adam(0.001), rows=2), id="shape"),
        pytest.param(small_state(optax.sgd(0.001)), id="structure"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("failing_restore")
def test_a_checkpoint_of_another_model_is_not_called_damaged(state, other, tmp_path):
    save(state, tmp_path, 0)
    with pytest.raises(ValueError, match=f"{tmp_path / 'checkpoints' / '0'}: .*another model"):
        restore(other, tmp_path)


def test_a_full_disk_is_a_sentence_before_anything_is_written(state, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "free_bytes", lambda _: 100)
    with pytest.raises(ValueError, match=r"checkpoints: no space left .* and 100 bytes are free"):
        save(state, tmp_path, 1)
    assert not any((tmp_path / "checkpoints").iterdir())


def test_a_disk_that_fills_while_saving_is_the_same_sentence(state, tmp_path, monkeypatch):
    """Orbax says it with TensorStore's words, from its own thread."""
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)

    def full(_):
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write 44 bytes to file 4: No space left on")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_finish", full)
        checkpoints.save(Progress(state))
        with pytest.raises(OSError, match=r"checkpoints: no space left .* Fix: "):
            checkpoints.wait()
    checkpoints.close()
