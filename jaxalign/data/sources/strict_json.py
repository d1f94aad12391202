"""JSON as its standard has it: Python's parser takes more, and says nothing."""

import json
from typing import Any


class TwiceError(ValueError):
    """Two keys of an object are equal."""


def loads(text: str) -> Any:
    """What JSON text says.

    Raises:
      TwiceError: Two keys of an object are equal.
      ValueError: It is no JSON; `NaN` and `Infinity` are none.
      RecursionError: It is nested too deeply.

    >>> loads('{"a": [1, null]}')
    {'a': [1, None]}
    """
    return json.loads(
        text, parse_constant=_refuse_constant, object_pairs_hook=_each_key_once
    )


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not JSON")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Left to itself the parser takes the last of equal keys."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise TwiceError(f"the key {json.dumps(twice)} stands twice in an object")
    return found
