from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_jax.training import parallel


@pytest.mark.parametrize(
    ("size", "devices", "fix"), [(9, 8, "8 or 16"), (7, 8, "it 8"), (10, 4, "8 or 12")]
)
def test_a_batch_the_devices_cannot_share_is_refused(size, devices, fix):
    with pytest.raises(ValueError, match=rf"train\.batch_size is {size}.* {devices} .*{fix}$"):
        parallel.own_rows(size, jax.devices()[:devices])


def test_one_process_reads_every_row():
    assert parallel.own_rows(16, jax.devices()[:8]).tolist() == list(range(16))


def devices_of(*processes: int) -> list[Mock]:
    """A device of each of these processes, numbered in this order."""
    return [
        Mock(jax.Device, process_index=process, id=number)
        for number, process in enumerate(processes)
    ]


@pytest.mark.parametrize(
    ("processes", "wanted"),
    [
        pytest.param([0, 0], [[[0, 1], [4, 5]], [[2, 3], [6, 7]]], id="one"),
        pytest.param([0, 1], [[[0, 1], [4, 5]]], id="first-of-two"),
        pytest.param([1, 0], [[[2, 3], [6, 7]]], id="second-of-two"),
        pytest.param([0, 1, 0, 1], [[[0], [4]], [[2], [6]]], id="interleaved"),
        pytest.param([1, 0, 0, 1], [[[1], [5]], [[2], [6]]], id="between"),
    ],
)
def test_the_rows_of_a_step_are_cut_over_devices_in_order(processes, wanted):
    """Two steps of four rows over the devices, seen from process 0."""
    table = np.arange(8, dtype=np.int32).reshape(2, 4)
    assert parallel.split_steps(table, devices_of(*processes)).tolist() == wanted


@pytest.mark.parametrize(
    "processes", [[0, 1, 0, 1], [1, 0, 2, 2, 0, 1], [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4]
)
def test_every_row_is_read_once_in_whatever_order_devices_come(processes, monkeypatch):
    read = []
    for process in set(processes):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        read += parallel.own_rows(2 * len(processes), devices_of(*processes)).tolist()
    assert sorted(read) == list(range(2 * len(processes)))


def test_devices_of_a_process_stand_side_by_side(monkeypatch):
    mixed = devices_of(1, 0, 1, 0)
    wanted = (mixed[1], mixed[3], mixed[0], mixed[2])
    assert parallel.run_devices(mixed) == wanted
    monkeypatch.setattr(jax, "devices", lambda: mixed)
    assert parallel.run_devices() == wanted


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_the_rows_of_a_batch_are_checked_on_the_devices(devices, monkeypatch):
    used = tuple(jax.devices()[:devices])
    parallel.check_rows(16, used)
    # As a process between whose devices lie those of another would read from first to last.
    split_steps = parallel.split_steps
    monkeypatch.setattr(parallel, "split_steps", lambda *given: split_steps(*given) // 2)
    with pytest.raises(RuntimeError, match=r"\[0, 0, 1, 1, .* of 16"):
        parallel.check_rows(16, used)


def test_rows_that_do_not_know_their_place_are_refused(monkeypatch):
    monkeypatch.setattr(parallel, "row_index", lambda rows: jnp.arange(rows, dtype=jnp.int32))
    parallel.check_rows(8, jax.devices()[:1])
    with pytest.raises(RuntimeError, match=r"\[0, 1, 2, 3, 0, 1, 2, 3\]"):
        parallel.check_rows(8, jax.devices()[:2])


def test_the_device_asked_for_must_be_there():
    parallel.require_device("")
    parallel.require_device("cpu")
    for asked, tokens in {"cuda": ("gpu", "cpu"), "abacus": ("cpu, cuda, tpu",)}.items():
        with pytest.raises(ValueError, match=f"COALA_DEVICE.*{asked}") as error:
            parallel.require_device(asked)
        assert all(token in str(error.value) for token in tokens)


def test_a_run_of_several_processes_names_the_variables_it_lacks(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    with pytest.raises(ValueError, match="without JAX_COORDINATOR_ADDRESS"):
        parallel.start("")


def test_without_a_folder_for_compiled_steps_a_run_goes_on_after_a_warning(
    tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = jax.config.jax_compilation_cache_dir
    parallel.keep_compiled_steps()
    assert jax.config.jax_compilation_cache_dir == before
    assert str(tmp_path / "file" / "coala_jax") in caplog.text
    assert "JAX_COMPILATION_CACHE_DIR" in caplog.text
