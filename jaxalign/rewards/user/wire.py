"""Messages between a run and the process of its rewards: a line of JSON each.

Nothing that arrives can be code: what JSON does not know is a dict with one key that
begins with `$`, and only the kinds below are read.
"""

import base64
import datetime
import decimal
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion

_TIMES = {
    "datetime": datetime.datetime,  # which is a date too
    "date": datetime.date,
    "time": datetime.time,
}


def line_of(message: Mapping[str, Any]) -> bytes:
    r"""A message, ready to be sent.

    >>> line_of({"id": 1, "values": [0.5, None]})
    b'{"id": 1, "values": [0.5, null]}\n'
    """
    return json.dumps(message).encode("ascii") + b"\n"


def message_of(line: bytes | bytearray) -> dict[str, Any]:
    """The message in a line.

    Raises:
      ValueError: It holds none.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"no message: {line[:80]!r}")
    return message


def packed(value: Any) -> Any:
    """A value of a row as JSON; `unpacked` gives it back, equal and of its type.

    Raises:
      TypeError: It is, or holds, something of another kind.

    >>> packed({"when": datetime.date(2020, 1, 2), "n": [1, (2,)]})
    {'when': {'$date': '2020-01-02'}, 'n': [1, {'$tuple': [2]}]}
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return packed(value.item())
    if isinstance(value, list):
        return [packed(x) for x in value]
    if isinstance(value, Mapping):
        plain = all(isinstance(k, str) and k[:1] != "$" for k in value)
        if plain:
            return {k: packed(v) for k, v in value.items()}
        return {"$dict": [[packed(k), packed(v)] for k, v in value.items()]}
    return _packed_rarity(value)


def _packed_rarity(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"$tuple": [packed(x) for x in value]}
    if isinstance(value, bytes | bytearray):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        data = base64.b64encode(value.tobytes()).decode("ascii")
        return {"$array": [value.dtype.str, list(value.shape), data]}
    if isinstance(value, np.ndarray):
        return packed(value.tolist())
    for kind, of_time in _TIMES.items():
        if isinstance(value, of_time):
            return {f"${kind}": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, decimal.Decimal):
        return {"$decimal": str(value)}
    raise TypeError(type(value).__name__)


def unpacked(value: Any) -> Any:
    """What `packed` was given; a new object, down to the last list in it.

    Raises:
      ValueError: It is not what `packed` gives.
    """
    if isinstance(value, list):
        return [unpacked(x) for x in value]
    if not isinstance(value, dict):
        return value
    kind = next(iter(value), "")
    if kind[:1] != "$":
        return {k: unpacked(v) for k, v in value.items()}
    return _unpacked_rarity(kind[1:], value[kind])


def _unpacked_rarity(kind: str, inner: Any) -> Any:
    if kind == "tuple":
        return tuple(unpacked(x) for x in inner)
    if kind == "dict":
        return {unpacked(k): unpacked(v) for k, v in inner}
    if kind == "bytes":
        return base64.b64decode(inner)
    if kind == "array":
        dtype, shape, data = inner
        flat = np.frombuffer(base64.b64decode(data), np.dtype(dtype))
        # The decoded bytes are read-only, and a reward may change its row.
        return flat.reshape(shape).copy()
    if kind in _TIMES:
        return _TIMES[kind].fromisoformat(inner)
    if kind == "timedelta":
        return datetime.timedelta(*inner)
    if kind == "decimal":
        return decimal.Decimal(inner)
    raise ValueError(f"a message holds the unknown kind ${kind}")


def packed_completions(completions: Sequence[Completion]) -> list[dict[str, Any]]:
    """Completions as JSON.

    Raises:
      UserError: A column of a row holds something that is no plain value.
    """
    return [_packed_completion(x) for x in completions]


def _packed_completion(c: Completion) -> dict[str, Any]:
    columns = {}
    for name, value in c.columns.items():
        try:
            columns[name] = packed(value)
        except (TypeError, RecursionError) as error:
            kind = "lists in lists" if isinstance(error, RecursionError) else error
            raise UserError(
                f"row {c.index}: the column `{name}` holds {kind}, which cannot be "
                "handed to a reward of your own. Make it text, a number, a list or a "
                "dict."
            ) from error
    odd = any(name[:1] == "$" for name in columns)
    return {
        "prompt": c.prompt,
        "completion": c.completion,
        "messages": None if c.messages is None else packed(list(c.messages)),
        "ids": [int(x) for x in c.ids],
        "stopped": bool(c.stopped),
        "columns": {"$dict": list(columns.items())} if odd else columns,
        "index": int(c.index),
        "prompt_ids": [int(x) for x in c.prompt_ids],
        "step": c.step,
    }


def unpacked_completions(sent: list[dict[str, Any]]) -> list[Completion]:
    """The completions; nothing in one of them is part of another."""
    return [
        Completion(
            **{
                **x,
                "messages": unpacked(x["messages"]),
                "columns": unpacked(x["columns"]),
            }
        )
        for x in sent
    ]
