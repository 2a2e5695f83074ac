"""The local web application over an index: `coala serve`."""
