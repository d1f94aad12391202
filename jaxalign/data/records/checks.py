"""What text and messages must be before anybody spends a token on them."""

import json
from collections.abc import Mapping
from typing import Any

from jaxalign.data.records.record import Message
from jaxalign.errors import UserError

ROLES = ("system", "developer", "user", "assistant", "tool")

# Which role may follow which; None is the beginning.
_FOLLOWS = {
    None: {"system", "developer", "user"},
    "system": {"developer", "user"},
    "developer": {"user"},
    "user": {"assistant"},
    "assistant": {"user", "tool"},
    "tool": {"tool", "assistant"},
}
_MEDIA = ("images", "image", "videos", "video", "audio", "audios")


class Flaw(UserError):
    """What is wrong with a row and how to mend it, before its place is known."""

    def __init__(self, what: str, fix: str):
        """Takes both parts; `to_record` adds the place."""
        super().__init__(f"{what}. {fix}")
        self.what, self.fix = what, fix


def name_of_type(value: Any) -> str:
    """What a value is, in words of JSON.

    >>> name_of_type(5), name_of_type(None), name_of_type(["a"])
    ('a number (5)', 'null', 'a list')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"a number ({value})"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, Mapping) else "a list"


def text(value: Any, field: str, *, blank: bool = False) -> str:
    """`value`, if it is text that a tokenizer can take.

    Raises:
      Flaw: if it is no string, holds NUL or half of a surrogate pair, or is blank
        although `blank` is False.
    """
    if not isinstance(value, str):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not text",
            "Write it as a string, or name another column with --columns.",
        )
    if not blank and not value.strip():
        what = "an empty string" if not value else "only white space"
        raise Flaw(f"`{field}` is {what}", "Give it text, or remove the row.")
    if (at := value.find("\0")) >= 0:
        raise Flaw(
            f"`{field}` holds a NUL character at position {at}",
            "Remove it: tr -d '\\000', or \"\\u0000\" in the JSON.",
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Flaw(
            f"`{field}` holds half of a surrogate pair "
            f"(U+{ord(value[error.start]):04X}) at position {error.start}",
            "Write the whole pair, or remove it; text cut in the middle does this.",
        ) from error
    return value


def messages(value: Any, field: str) -> tuple[Message, ...]:
    """Messages from a list of `{"role", "content"}` objects, each one checked.

    Raises:
      Flaw: if it is not such a list, or a message is malformed or without text.
    """
    if not isinstance(value, list | tuple):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not a list of messages",
            'Messages look like [{"role": "user", "content": "..."}].',
        )
    if not value:
        raise Flaw(
            f"`{field}` is an empty list", "Give it messages, or remove the row."
        )
    return tuple(_message(m, f"{field}[{i}]") for i, m in enumerate(value))


def check_order(
    turns: tuple[Message, ...], field: str, first: str | None = None
) -> None:
    """Checks that roles follow each other as chat templates expect.

    Args:
      turns: messages.
      field: the column, for messages to the user.
      first: None if a conversation begins here, `assistant` if a response does.

    Raises:
      Flaw: naming the first message that is out of order.
    """
    previous = None
    for i, turn in enumerate(turns):
        allowed = {first} if first and i == 0 else _FOLLOWS[previous]
        if turn.role not in allowed:
            place = f"after `{previous}`" if previous else "at the beginning"
            wanted = " or ".join(f"`{role}`" for role in ROLES if role in allowed)
            raise Flaw(
                f"roles out of order: `{field}[{i}]` is `{turn.role}` {place}, where "
                f"{wanted} belongs",
                "Order the turns, join two of one role, or remove the row.",
            )
        previous = turn.role


def parsed(value: Any, field: str) -> Any:
    """`value`, or what it says if it is JSON text, as flat file formats need it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Flaw(
            f"`{field}` is text that is not JSON ({error})",
            f"Write `{field}` as JSON, or rename the column if it is another thing.",
        ) from error


def entries(value: Any, field: str) -> list:
    """`value` as a list with at least one entry, else `Flaw`."""
    if not isinstance(value, list | tuple) or not value:
        what = "an empty list" if value in ([], ()) else name_of_type(value)
        raise Flaw(f"`{field}` is {what}, not a list", "Give it a list with entries.")
    return list(value)


def same_length(a, a_name: str, b, b_name: str) -> None:
    """Raises `Flaw` unless both lists are equally long."""
    if len(a) != len(b):
        raise Flaw(
            f"`{a_name}` has {len(a)} entries and `{b_name}` {len(b)}",
            "Both have one entry for each.",
        )


def number(value: Any, field: str) -> float:
    """`value` as a finite number, else `Flaw`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not a number", "Give a number."
        )
    if not abs(value) < float("inf"):
        raise Flaw(f"`{field}` is {value}, not finite", "Give a finite number.")
    return float(value)


def flag(value: Any, field: str) -> bool:
    """`value` as a bool, else `Flaw`; 0 and 1 count as such."""
    if value not in (0, 1) or isinstance(value, float):
        raise Flaw(f"`{field}` is {value!r}, not a boolean", "Write true or false.")
    return bool(value)


def refuse_media(row: Mapping[str, Any]) -> None:
    """Raises `Flaw` if the row holds pictures, film or sound."""
    for name in _MEDIA:
        if row.get(name):
            raise Flaw(
                f"the row has `{name}`, and only text can be trained on",
                "Remove such rows, or the column if it is not needed.",
            )


def _message(value: Any, field: str) -> Message:
    if not isinstance(value, Mapping):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not a message",
            'Messages look like {"role": "user", "content": "..."}.',
        )
    if value.get("role") is None:
        if "from" in value and "value" in value:
            raise Flaw(
                f"`{field}` is a ShareGPT turn (from, value)",
                "Say --format sharegpt (with --columns conversations=NAME).",
            )
        raise Flaw(f"`{field}` has no `role`", f"Roles are {', '.join(ROLES)}.")
    role = value["role"]
    if role not in ROLES:
        raise Flaw(f"`{field}.role` is {role!r}", f"Roles are {', '.join(ROLES)}.")
    extra = {
        k: v for k, v in value.items() if k not in ("role", "content") and v is not None
    }
    content = value.get("content")
    if content is None and extra.get("tool_calls"):
        content = ""
    if isinstance(content, list | tuple):
        content = "".join(_part(part, f"{field}.content") for part in content)
    blank = role not in ("user", "assistant") or bool(extra.get("tool_calls"))
    return Message(role, text(content, f"{field}.content", blank=blank), extra)


def _part(part: Any, field: str) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text":
        return text(part.get("text"), field, blank=True)
    kind = part.get("type") if isinstance(part, Mapping) else name_of_type(part)
    raise Flaw(
        f"`{field}` has a part of type {kind!r}, and only text can be trained on",
        "Remove rows with pictures or sound.",
    )
