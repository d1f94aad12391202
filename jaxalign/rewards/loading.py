"""Rewards from text, as the command line gives them: `NAME(PARAMETER=VALUE)=WEIGHT`."""

import ast
import dataclasses
import difflib
import functools
import importlib
import importlib.util
import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from jaxalign.errors import UserError
from jaxalign.rewards.builtin import BUILT_IN
from jaxalign.rewards.calls import place_of
from jaxalign.rewards.columns import adapted
from jaxalign.rewards.reward import MODEL_TIME_LIMIT, Reward

_FORM = re.compile(
    r"(?P<name>[^(=]+)(\((?P<given>.*)\))?\s*(=(?P<weight>[^()=]+))?", re.S
)
_OF_EVERY_REWARD = ("fallback", "time_limit")

Named = Mapping[str, Callable[..., Any]]
"""Functions by the name that they have on the command line."""


class Wanted(NamedTuple):
    """What a text asks for.

    Attributes:
      name: Of a function, or a path.
      parameters: Of the function.
      weight: In the total.
    """

    name: str
    parameters: dict[str, Any]
    weight: float


def load_rewards(texts: Sequence[str]) -> list[Reward]:
    """The rewards that texts name; see `parse_reward`. Equal names get numbers.

    >>> [x.name for x in load_rewards(["exact_match", "exact_match(column=gold)=0.5"])]
    ['exact_match', 'exact_match_2']
    """
    return with_own_names(map(parse_reward, texts))


def with_own_names(rewards: Iterable[Reward]) -> list[Reward]:
    """The rewards in their order; names that were there before get a number."""
    named: list[Reward] = []
    for reward in rewards:
        taken, name, number = {x.name for x in named}, reward.name, 1
        while name in taken:
            number += 1
            name = f"{reward.name}_{number}"
        named.append(dataclasses.replace(reward, name=name))
    return named


def read_reward(text: str) -> Wanted:
    """Takes a text apart, `NAME(PARAMETER=VALUE, ...)=WEIGHT`; nothing is looked up.

    Args:
      text: See `parse_reward`.

    Raises:
      UserError: The text is not understood.

    >>> read_reward("length_penalty(target=20)=0.5")
    Wanted(name='length_penalty', parameters={'target': 20}, weight=0.5)
    """
    form = _FORM.fullmatch(text.strip())
    if not form:
        raise UserError(
            f"--reward {text!r} is not understood. Write a name, with parameters and a "
            "weight if need be: exact_match, or exact_match(column=gold)=0.5."
        )
    weight = _number(form["weight"], text) if form["weight"] else 1.0
    return Wanted(form["name"].strip(), _parameters(form["given"] or "", text), weight)


def parse_reward(text: str, models: Named | None = None) -> Reward:
    """The reward that a text names.

    The name is one of `BUILT_IN`, or the user's own function, whose code is run:
    `path/to/file.py:function` or `package.module:function`. Parameters are those of the
    function; every reward also takes `fallback` (the value of completions that it fails
    on) and `time_limit` (seconds of one call). A function with the signature
    `f(prompts, completions, **columns)` is recognised; see `columns`.

    Args:
      text: `NAME`, `NAME=WEIGHT` or `NAME(PARAMETER=VALUE, ...)=WEIGHT`. Values are
        numbers, lists, None, True, False, words, or text in quotes, backslashes as
        they stand.
      models: Further functions by name, which compute models and have their time.

    Returns:
      The reward, weight 1 by default.

    Raises:
      UserError: The text, a name, a parameter or the user's file cannot be used.

    >>> reward = parse_reward("length_penalty(target=20, fallback=0)=0.5")
    >>> reward.name, reward.weight, reward.fallback
    ('length_penalty', 0.5, 0)
    """
    models = models or {}
    name, given, weight = read_reward(text)
    own = {k: given.pop(k) for k in _OF_EVERY_REWARD if k in given}
    if name in models:
        own = {"time_limit": MODEL_TIME_LIMIT} | own
    named = BUILT_IN | dict(models)
    function, short = _function(name, text, named)
    _check_parameters(function, given, text)
    bound = functools.partial(function, **given) if given else function
    if name in named:
        try:
            bound([])  # refuses parameters that mean nothing
        except UserError as error:
            raise UserError(f"--reward {text!r}: {error}") from error
    return Reward(short, adapted(bound), weight, **own)


def describe_rewards(models: Named | None = None) -> str:
    """The built-in rewards with their parameters, for help texts.

    Args:
      models: As `parse_reward` takes them.

    >>> print(describe_rewards().splitlines()[0])
    Built-in rewards, with their parameters:
    """
    lines = ["Built-in rewards, with their parameters:"]
    for name, function in {**BUILT_IN, **(models or {})}.items():
        parameters = ", ".join(
            str(p).replace("'", "").split(":")[0]
            + ("" if p.default is p.empty else f"={p.default!r}")
            for p in _options(function)
        )
        summary = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        lines += [f"  {name}({parameters})", f"      {summary}"]
    return "\n".join(
        [
            *lines,
            "Your own: path/to/file.py:function or package.module:function, which is",
            "f(completions) or f(prompts, completions, **columns).",
            "A reward model: the folder that `jaxalign reward` exported.",
            "Every reward takes fallback=VALUE for completions that it fails on, and",
            "time_limit=SECONDS for one call. A weight stands behind: exact_match=0.5.",
        ]
    )


def _options(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY]


def _parameters(given: str, text: str) -> dict[str, Any]:
    source = f"f({given})"
    try:
        with warnings.catch_warnings():  # \d is no escape of Python's, and is meant
            warnings.simplefilter("ignore")
            call = ast.parse(source, mode="eval").body
        if isinstance(call, ast.Call) and not call.args:
            return {_name(k): _literal(k.value, source) for k in call.keywords}
    except (SyntaxError, ValueError):
        pass
    raise UserError(
        f"--reward {text!r}: the parameters ({given}) are not understood. Write names "
        "and values, text with blanks or signs in quotes: (column=gold, weight=2)."
    )


def _name(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("** names no parameter")
    return keyword.arg


def _literal(node: ast.expr, source: str) -> Any:
    """The value; text in quotes as it stands, for regular expressions."""
    if isinstance(node, ast.Name):
        return node.id
    written = ast.get_source_segment(source, node) or ""
    if isinstance(node, ast.Constant) and written[:1] in ("'", '"'):
        return written[1:-1]
    return ast.literal_eval(node)


def _number(weight: str, text: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise UserError(
            f"--reward {text!r}: the weight {weight!r} is no number. Write it last: "
            "exact_match=0.5."
        ) from None


def _function(name: str, text: str, named: Named) -> tuple[Callable[..., Any], str]:
    """The function, and what metrics call it."""
    if ":" not in name:
        if name not in named:
            near = difflib.get_close_matches(name, named, 1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise UserError(
                f"--reward {text!r}: there is no reward `{name}`. Built in are "
                f"{', '.join(named)}; your own is file.py:function.{hint}"
            )
        return named[name], name
    origin, _, attribute = name.rpartition(":")
    module = _module(origin, text)
    function = getattr(module, attribute, None)
    if callable(function):
        return function, attribute
    has = [k for k, v in vars(module).items() if inspect.isfunction(v)]
    near = difflib.get_close_matches(attribute, has, 1)
    hint = (
        f"Did you mean `{near[0]}`?" if near else f"It has {', '.join(has) or 'none'}."
    )
    raise UserError(
        f"--reward {text!r}: {origin} has no function `{attribute}`. {hint}"
    )


def _module(origin: str, text: str) -> ModuleType:
    try:
        if not origin.endswith(".py"):
            return importlib.import_module(origin)
        path = Path(origin)
        if not path.is_file():
            raise UserError(f"--reward {text!r}: there is no file {origin}.")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(
            f"--reward {text!r}: loading {origin} raised {type(error).__name__}: "
            f"{error} ({place_of(error)}). Mend the file."
        ) from error


def _check_parameters(function, given: dict[str, Any], text: str) -> None:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in given:
        if name not in parameters:
            names = [p.name for p in _options(function)]
            takes = ", ".join([*names, *_OF_EVERY_REWARD])
            raise UserError(
                f"--reward {text!r}: it has no parameter `{name}`; it takes {takes}."
            )
    for p in _options(function):
        if p.default is p.empty and p.name not in given:
            raise UserError(
                f"--reward {text!r}: it needs the parameter `{p.name}`: "
                f"({p.name}=VALUE)."
            )
