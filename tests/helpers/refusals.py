"""The message of a refusal, for tests that say which facts it must name."""

import pytest

from jaxrep.errors import InputError


def refused(*facts, call):
    """Calls a function that must refuse what it is given in one line, and returns its message."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    for fact in facts:
        assert fact in message, message
    assert "\n" not in message
    return message
