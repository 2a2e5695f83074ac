"""The documentation site, which ./run.sh docs builds.

Nothing is fetched while it is built. Pages are MyST Markdown, the API reference comes from the
docstrings.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]  # this checkout, not an installed package

import coala_jax  # noqa: E402

project = "coala_jax"
author = "The authors of coala_jax"
version = release = coala_jax.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "config_table",  # these two are in _ext
    "docstrings",
]

# `name` in a docstring is a link where it is the name of something documented, and code elsewhere.
default_role = "py:obj"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has the types of fields
autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"  # Float32[ndarray, 'patch 96 96'], without module names
autodoc_preserve_defaults = True  # as the source has them
autodoc_class_signature = "mixed"
maximum_signature_line_length = 80  # a longer one has a line for each parameter
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
pygments_style = "friendly"
pygments_dark_style = "monokai"

html_theme = "furo"
html_title = f"coala_jax {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
