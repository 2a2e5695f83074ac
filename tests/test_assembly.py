"""Groups of sounds that are copies of each other. The rest of assembly is in test_folder.py."""

import pytest

from coala_jax.preparation.assembly import join_copies


@pytest.mark.parametrize(
    ("groups", "digests", "joined"),
    [
        pytest.param("abc", "123", "abc", id="none"),
        pytest.param("abc", "121", "aba", id="a-copy"),
        pytest.param("abbc", "1233", "abbb", id="a-group-and-a-copy"),
        pytest.param("cba", "112", "bba", id="the-first-name"),
        pytest.param("abbcd", "11224", "aaaad", id="a-chain"),
        pytest.param("aab", "111", "aaa", id="three"),
        pytest.param("a", "1", "a", id="one"),
    ],
)
def test_groups_that_share_a_sound_become_one(groups: str, digests: str, joined: str) -> None:
    assert join_copies(list(groups), list(digests)) == list(joined)
    back = join_copies(list(groups)[::-1], list(digests)[::-1])
    assert back == list(joined)[::-1]
