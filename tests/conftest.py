"""Eight CPU devices, strict types and ranks, every warning an error, shapes checked at run time."""

import functools
import gc
import os
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

# Many tests run the same program in a new wrapper or process; in one session it is compiled once.
_CACHE = tempfile.TemporaryDirectory(prefix="coala-jax-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"

# Compiling is most of the time of these tests: XLA gets its older emitters, which take half as long
# (until jax 0.11, which lacks them), and no optimisations. What these could change is claimed of
# whole runs, which integration/test_optimized.py repeats as users have them.
OPTIMIZED = "COALA_TESTS_OPTIMIZED" in os.environ
if not OPTIMIZED:
    flags = ["--xla_cpu_parallel_codegen_split_count=1"]
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import numba  # noqa: E402
import pytest  # noqa: E402

# Annotations such as Float[Array, "batch mel time"] are checked at every call.
jaxtyping.install_import_hook("coala_jax", "beartype.beartype")

# Set before the first use of a device; XLA_FLAGS set this late would be ignored without a word.
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def _compiled_when_called(decorator):
    """As `decorator`, but what it decorates is compiled by the first call."""
    lock = threading.RLock()

    def with_types(*types, **options):
        def decorate(function):
            compile_once = functools.cache(lambda: decorator(*types, **options)(function))

            @functools.wraps(function)
            def call(*arguments):
                with lock:
                    compiled = compile_once()
                return compiled(*arguments)

            return call

        return decorate

    return with_types


# Where its cache is empty, as in a new environment, Numba takes half a minute to compile what
# librosa decorates with these as it is imported. The tests call little of that.
numba.vectorize = _compiled_when_called(numba.vectorize)
numba.guvectorize = _compiled_when_called(numba.guvectorize)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported stays: the collector need not look through it, then or in any test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items):
    """Each test is marked by its folder (unit, integration, distributed), or marks itself."""
    for item in items:
        if not any(item.iter_markers("integration")):
            item.add_marker(item.path.relative_to(Path(__file__).parent).parts[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI, which installs what tests need, a skipped test is one that proves nothing."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = "failed", f"skipped in CI: {call.excinfo.value}"
    return report


@pytest.fixture
def failing_restore():
    """Collects the tasks that Orbax leaves behind where a restore fails.

    Left to chance they would be collected, with a warning each, in some later test. A test that
    takes this fixture ignores PytestUnraisableExceptionWarning.
    """
    yield
    gc.collect()


@pytest.fixture(autouse=True, scope="module")
def _programs_of_one_file_at_a_time():
    """Lets go of what a file compiled.

    A compiled program takes hundreds of memory maps, of which Linux gives a process 65,530; then
    XLA dies of a segmentation fault. The next file finds what it shares in the cache on disk.
    """
    yield
    jax.clear_caches()
