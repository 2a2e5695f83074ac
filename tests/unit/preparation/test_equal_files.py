"""Keys of files: equal for files of equal bytes, and for no others."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coala_jax.preparation import equal_files
from coala_jax.preparation.equal_files import file_keys, file_size


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    contents=st.lists(st.sampled_from([b"", b"a", b"b", b"aa", b"ab", b"a" * 9, b"a" * 8 + b"b"]))
)
def test_keys_are_equal_for_equal_bytes_alone(contents, tmp_path_factory):
    """With files longer than what is compared first, an empty one, and two that are gone."""
    folder = tmp_path_factory.mktemp("files")
    for number, content in enumerate(contents):
        (folder / str(number)).write_bytes(content)
    files = [*map(str, range(len(contents))), "missing"]
    sizes = {file: file_size(folder / file) for file in files} | {"gone": 2, "gone too": 2}
    head, equal_files._HEAD_BYTES = equal_files._HEAD_BYTES, 4
    try:
        keys = file_keys(folder, sizes, workers=2)
    finally:
        equal_files._HEAD_BYTES = head
    for a, first in enumerate(contents):
        for b, second in enumerate(contents):
            same = a == b or (first == second != b"")
            assert (keys[str(a)] == keys[str(b)]) == same
    for file in ("missing", "gone", "gone too"):
        assert list(keys.values()).count(keys[file]) == 1
