"""What a mistake of the user is answered with: one line."""

from contextlib import contextmanager

import pytest


@contextmanager
def refused(kind: type[Exception], *parts: str, match: str | None = None):
    """Within it an error of a kind is raised that is one line, names all parts and matches an expression."""
    with pytest.raises(kind, match=match) as error:
        yield
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
