"""Reward functions in TRL's form: `f(prompts, completions, **columns)`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from jaxalign.rewards.calls import is_async
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reward import RewardFunction


def takes_columns(function: Callable[..., Any]) -> bool:
    """Whether a function has TRL's form, by its signature.

    It names `completions` and, besides, `prompts`, `**kwargs` or another parameter that
    has no default. Ours take one list of `Completion`.

    >>> takes_columns(lambda completions, **kwargs: [])
    True
    >>> takes_columns(lambda completions, weight=1.0: [])
    False
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in callables have none
        return False
    others = [p for name, p in parameters.items() if name != "completions"]
    return "completions" in parameters and any(
        p.name == "prompts"
        or p.kind is p.VAR_KEYWORD
        or (p.default is p.empty and p.kind is not p.VAR_POSITIONAL)
        for p in others
    )


def adapted(function: Callable[..., Any]) -> RewardFunction:
    """The function in our form; those that have it already are returned as they are.

    TRL's get `prompts`, `completions`, `completion_ids` and each column as lists; where
    the prompt is a conversation, `prompts` are lists of messages and `completions` are
    lists with one assistant message.

    >>> def right(completions, answer, **kwargs):
    ...     return [float(c == a) for c, a in zip(completions, answer)]
    >>> adapted(right)([Completion("2 + 2?", "4", columns={"answer": "4"})])
    [1.0]
    """
    if not takes_columns(function):
        return function
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = {p.name for p in parameters}

    def arguments(completions: list[Completion]) -> dict[str, Any]:
        found = _lists(completions)
        return {k: v for k, v in found.items() if takes_all or k in names}

    @functools.wraps(function)
    def call(completions: list[Completion]):
        return function(**arguments(completions))

    @functools.wraps(function)
    async def call_async(completions: list[Completion]):
        return await function(**arguments(completions))

    return call_async if is_async(function) else call


def _lists(completions: list[Completion]) -> dict[str, list[Any]]:
    columns = dict.fromkeys(name for c in completions for name in c.columns)
    return {name: [c.columns.get(name) for c in completions] for name in columns} | {
        "prompts": [_prompt(c) for c in completions],
        "completions": [_answer(c) for c in completions],
        "completion_ids": [list(c.ids) for c in completions],
    }


def _prompt(c: Completion) -> Any:
    return c.prompt if c.messages is None else [dict(m) for m in c.messages]


def _answer(c: Completion) -> Any:
    if c.messages is None:
        return c.completion
    return [{"role": "assistant", "content": c.completion}]
