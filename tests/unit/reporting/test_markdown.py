"""Names that would be more than text in Markdown."""

import pytest

from coala_jax.reporting.markdown import escape
from coala_jax.reporting.tables import plain


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("dog bark-2", "dog bark-2"),
        ("snake_case", "snake_case"),
        ("<b>loud</b>", r"\<b\>loud\</b\>"),
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("![x](http://e.org)", r"!\[x\](http://e.org)"),
        ("a|b", r"a\|b"),
        ("*a* `b` &amp;", r"\*a\* \`b\` \&amp;"),
        ("two\nlines\u2028three", "two lines three"),
    ],
)
def test_text_of_others_is_text(text: str, escaped: str) -> None:
    assert escape(text) == plain(text) == escaped
