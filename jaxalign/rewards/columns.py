"""Reward functions in TRL's form: `f(prompts, completions, **columns)`."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reward import RewardFunction, is_async

SHOWN = ("prompts", "completions", "completion_ids")
"""What a function in TRL's form is shown besides the columns of the rows."""
STEP = "step"
"""The argument that holds the number of the iteration, for curricula."""


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function; None for built-in callables that have none."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def takes_columns(function: Callable[..., Any] | inspect.Signature | None) -> bool:
    """Whether a function has TRL's form, by its signature.

    It names `completions` and, besides, `prompts`, `**kwargs` or another parameter that
    has no default. Ours take one list of `Completion`.

    >>> takes_columns(lambda completions, **kwargs: [])
    True
    >>> takes_columns(lambda completions, weight=1.0: [])
    False
    """
    signature = signature_of(function) if callable(function) else function
    if signature is None:
        return False
    parameters = signature.parameters
    others = [p for name, p in parameters.items() if name != "completions"]
    return "completions" in parameters and any(
        p.name == "prompts"
        or p.kind is p.VAR_KEYWORD
        or (p.default is p.empty and p.kind is not p.VAR_POSITIONAL)
        for p in others
    )


def needed(signature: inspect.Signature | None, given: Mapping[str, Any]) -> list[str]:
    """Arguments of a function in TRL's form that only a column of the rows can fill.

    >>> def right(completions, answer, strict, step, most=3, **kwargs): ...
    >>> needed(inspect.signature(right), {"strict": True})
    ['answer']
    """
    if signature is None or not takes_columns(signature):
        return []
    return [
        p.name
        for p in signature.parameters.values()
        if p.default is p.empty
        and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        and p.name not in (*SHOWN, STEP, *given)
    ]


def needs_step(signature: inspect.Signature | None, given: Mapping[str, Any]) -> bool:
    """Whether a function cannot be called without the number of an iteration."""
    step = signature and signature.parameters.get(STEP)
    return bool(step) and step.default is step.empty and STEP not in given


def adapted(
    function: Callable[..., Any], given: Mapping[str, Any] | None = None
) -> RewardFunction:
    """The function in our form, `list of completions -> values`.

    TRL's get `prompts`, `completions`, `completion_ids` and each column as lists; where
    the prompt is a conversation, `prompts` are lists of messages and `completions` are
    lists with one assistant message. Whoever names `step` gets the number of the
    iteration, unless the rows have a column of that name.

    Args:
      function: In either form.
      given: Parameters; one that is called like a column stands in its place.

    Returns:
      The function, unchanged if it has our form and there is nothing to add.

    >>> def right(completions, answer, **kwargs):
    ...     return [float(c == a) for c, a in zip(completions, answer)]
    >>> adapted(right)([Completion("2 + 2?", "4", columns={"answer": "4"})])
    [1.0]
    """
    given, signature = dict(given or {}), signature_of(function)
    bound = functools.partial(function, **given) if given else function
    names = set() if signature is None else set(signature.parameters)
    in_trl_form = takes_columns(signature)
    if not in_trl_form and (STEP not in names or STEP in given):
        return bound
    parameters = [] if signature is None else signature.parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def arguments(completions: list[Completion]) -> dict[str, Any]:
        found = {k: v for k, v in _step(completions).items() if k in names}
        if in_trl_form:
            columns = _lists(completions)
            found |= {k: v for k, v in columns.items() if takes_all or k in names}
        return {k: v for k, v in found.items() if k not in given}

    def plain(completions: list[Completion]) -> list[list[Completion]]:
        return [] if in_trl_form else [completions]

    @functools.wraps(function)
    def call(completions: list[Completion]):
        return bound(*plain(completions), **arguments(completions))

    @functools.wraps(function)
    async def call_async(completions: list[Completion]):
        return await bound(*plain(completions), **arguments(completions))

    return call_async if is_async(function) else call


def refuse_unknown_step(name: str) -> UserError:
    """The error of a curriculum that is asked about no iteration."""
    return UserError(
        f"The reward `{name}` asks for `{STEP}`, the number of the iteration, and "
        f"there is none outside of a run. Give one, {name}({STEP}=100), or a default "
        "in the function."
    )


def _step(completions: list[Completion]) -> dict[str, Any]:
    step = completions[0].step if completions else None
    return {} if step is None else {STEP: step}


def _lists(completions: list[Completion]) -> dict[str, list[Any]]:
    columns = dict.fromkeys(name for c in completions for name in c.columns)
    return {name: [c.columns.get(name) for c in completions] for name in columns} | {
        "prompts": [_prompt(c) for c in completions],
        "completions": [_text(c) for c in completions],
        "completion_ids": [list(c.ids) for c in completions],
    }


def _prompt(c: Completion) -> Any:
    return c.prompt if c.messages is None else [dict(m) for m in c.messages]


def _text(c: Completion) -> Any:
    if c.messages is None:
        return c.completion
    return [{"role": "assistant", "content": c.completion}]
