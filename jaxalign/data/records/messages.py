"""Messages of a row: each key is read, passed to the chat template, or refused."""

from collections.abc import Mapping
from typing import Any

from jaxalign.data.records import checks
from jaxalign.data.records.calls import tool_calls
from jaxalign.data.records.checks import Flaw, name_of_type
from jaxalign.data.records.record import Message

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

FOR_TEMPLATES = (
    *("tool_calls", "tool_call_id", "name", "tools", "documents"),
    *("reasoning_content", "reasoning", "thinking"),
)
"""Keys that chat templates are known to read."""

# Whether a turn is trained, as OpenAI, axolotl, ms-swift and others say it.
_WEIGHTS = ("weight", "loss_weight", "loss_scale")
_SWITCHES = ("train", "trained", "trainable", "training", "train_on", "loss")
_SWITCHES = (*_SWITCHES, "train_on_turn")
# Words that one tool writes for what is trained and another for what is not, or
# that single out a part of the text.
_UNCLEAR = ("mask", "masked", "masks", "loss_mask", "train_detail", "training_detail")
_MEDIA = ("images", "image", "videos", "video", "audio", "audios")


def messages(value: Any, field: str) -> tuple[Message, ...]:
    """Messages from a list of `{"role", "content"}` objects, each one checked.

    Raises:
      Flaw: if it is not such a list, or a message is malformed, without text, or says
        what is trained of it in a way that is not known.

    >>> messages([{"role": "assistant", "content": "hi", "weight": 0}], "messages")
    (Message(role='assistant', content='hi', extra={}, trained=False),)
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


def check_roles(
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


def _message(value: Any, field: str) -> Message:
    if not isinstance(value, Mapping):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not a message",
            'Messages look like {"role": "user", "content": "..."}.',
        )
    # Arrow gives every message the keys of all others, with nulls.
    keys = {k: v for k, v in value.items() if v is not None}
    role = _role(keys, field)
    # These take their keys out; what is left goes to the template.
    trained = _trained(keys, role, field)
    _refuse_parts(keys, field)
    _calls(keys, field)
    content = keys.pop("content", None)
    # Logs of OpenAI's API have null where a turn only calls tools.
    if content is None and "tool_calls" in keys:
        content = ""
    if isinstance(content, list | tuple):
        content = "".join(_part(part, f"{field}.content") for part in content)
    # System texts and tools' results may be empty, and turns that call a tool.
    blank = role not in ("user", "assistant") or "tool_calls" in keys
    said = checks.text(content, f"{field}.content", blank=blank)
    return Message(role, said, keys, trained)


def _role(keys: dict[str, Any], field: str) -> str:
    role = keys.pop("role", None)
    if role is None:
        if "from" in keys and "value" in keys:
            raise Flaw(
                f"`{field}` is a ShareGPT turn (from, value)",
                "Say --format sharegpt (with --columns conversations=NAME).",
            )
        raise Flaw(f"`{field}` has no `role`", f"Roles are {', '.join(ROLES)}.")
    if role == "function" and "name" in keys:
        return "tool"  # what tools were called before there were tools
    if role not in ROLES:
        raise Flaw(f"`{field}.role` is {role!r}", f"Roles are {', '.join(ROLES)}.")
    return role


def _trained(keys: dict[str, Any], role: str, field: str) -> bool:
    """Whether the turn may be trained; takes what says so out of the keys."""
    for name in _UNCLEAR:
        if name in keys:
            raise Flaw(
                f"`{field}.{name}` is not understood: it may say which text is trained",
                'Write "train": false at turns that are only read, or remove the key.',
            )
    trained = True
    for name in _WEIGHTS:
        weight = checks.number(keys.pop(name, 1), f"{field}.{name}")
        if weight not in (0, 1):
            raise Flaw(
                f"`{field}.{name}` is {weight:g}, and a turn is trained (1) or not (0)",
                "Write 0 or 1.",
            )
        trained &= bool(weight)
    for name in _SWITCHES:
        if name not in keys:
            continue
        on = checks.flag(keys.pop(name), f"{field}.{name}")
        if on and role != "assistant":
            raise Flaw(
                f"`{field}.{name}` asks to train a `{role}` turn",
                "Only the assistant's turns are trained (all text with --loss-on all); "
                "remove the key.",
            )
        trained &= on
    # Of the other turns nothing is trained anyway.
    return trained or role != "assistant"


def _refuse_parts(keys: dict[str, Any], field: str) -> None:
    for name in _MEDIA:
        if keys.get(name):
            raise Flaw(
                f"`{field}` has `{name}`, and only text can be trained on",
                "Remove rows with pictures or sound.",
            )
        # An empty list is Arrow's filling, and no template should see it.
        keys.pop(name, None)
    if keys.pop("refusal", None):
        raise Flaw(
            f"`{field}.refusal` holds what the assistant says in place of `content`",
            "Move its text to `content`, or remove the row.",
        )


def _calls(keys: dict[str, Any], field: str) -> None:
    """Puts the tool calls of a message into one form; none leaves no key."""
    old = keys.pop("function_call", None)
    calls = keys.pop("tool_calls", None)
    if old and calls:
        raise Flaw(
            f"`{field}` has both `tool_calls` and `function_call`", "Keep one of them."
        )
    if old:
        made = tool_calls([old], f"{field}.function_call")
        keys["tool_calls"] = [{"type": "function", "function": x} for x in made]
    elif calls:
        keys["tool_calls"] = tool_calls(calls, f"{field}.tool_calls")


def _part(part: Any, field: str) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text":
        return checks.text(part.get("text"), field, blank=True)
    kind = part.get("type") if isinstance(part, Mapping) else name_of_type(part)
    raise Flaw(
        f"`{field}` has a part of type {kind!r}, and only text can be trained on",
        "Remove rows with pictures or sound.",
    )
