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
    checkpoint.claim(tmp_path / "w", config, "digest")
    assert json.loads((tmp_path / "w" / "config.json").read_text())["train"]["batch_size"] == 8
    checkpoint.claim(tmp_path / "w", config, "digest")


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
    checkpoint.claim(tmp_path, tiny_config(data__path="here"), "digest")
    checkpoint.claim(tmp_path, tiny_config(**({"data__path": "here"} | free)), "digest")


@pytest.mark.parametrize(
    ("change", "digest", "message"),
    [
        ({"seed": 1}, "digest", "has seed = 0, and this one 1; choose another --workdir"),
        ({"train__batch_size": 16}, "digest", "has train.batch_size = 8, and this one 16"),
        ({"data__patch_dtype": "uint8"}, "digest", "has data.patch_dtype = 'float32', and this"),
        ({}, "other", "was trained on another dataset; choose another --workdir"),
    ],
)
def test_what_would_change_the_result_may_not(change, digest, message, tmp_path):
    checkpoint.claim(tmp_path, tiny_config(), "digest")
    with pytest.raises(ValueError, match=message):
        checkpoint.claim(tmp_path, tiny_config(**change), digest)
