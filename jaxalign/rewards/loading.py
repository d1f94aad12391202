"""Rewards from text, as the command line gives them: `NAME(PARAMETER=VALUE)=WEIGHT`."""

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.rewards.builtin import BUILT_IN
from jaxalign.rewards.columns import SHOWN, STEP
from jaxalign.rewards.reward import Reward
from jaxalign.rewards.reward_text import read_reward, shown_reward
from jaxalign.rewards.user.function import MissingInput, UserFunction
from jaxalign.rewards.user.process import UserProcess

_OF_EVERY_REWARD = ("fallback", "time_limit")

Named = Mapping[str, Callable[..., Any]]
"""Functions by the name that they have on the command line."""


class Processes:
    """The processes of the rewards of one run: one for each folder of files.

    Modules, and files of the current folder, share one. Files of another folder have
    their own: neighbours of one name in two folders are two modules.
    """

    def __init__(self):
        """None is started yet."""
        self._by_folder: dict[Path, UserProcess] = {}

    def of(self, origin: str) -> UserProcess:
        """The process for a file, or for a module by its dotted name."""
        try:
            here = Path.cwd()
        except OSError as error:
            raise UserError(
                f"the current folder cannot be read ({error.strerror}), where the "
                "rewards are to run. Go to one that is there."
            ) from error
        folder = Path(origin).resolve().parent if origin.endswith(".py") else here
        if folder not in self._by_folder:
            self._by_folder[folder] = UserProcess(folder)
        return self._by_folder[folder]


def load_rewards(texts: Sequence[str]) -> list[Reward]:
    """The rewards that texts name; see `parse_reward`. Equal names get numbers.

    >>> [x.name for x in load_rewards(["exact_match", "exact_match(column=gold)=0.5"])]
    ['exact_match', 'exact_match_2']
    """
    processes = Processes()
    return with_own_names(parse_reward(x, processes=processes) for x in texts)


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


def parse_reward(
    text: str, models: Named | None = None, processes: Processes | None = None
) -> Reward:
    """The reward that a text names.

    The name is one of `BUILT_IN`, or the user's own function, whose code is run in a
    process of its own: `path/to/file.py:function` or `package.module:function`.
    Parameters are those of the function; every reward also takes `fallback` (the value
    of completions that it fails on) and `time_limit` (seconds of one call). A function
    with the signature `f(prompts, completions, **columns)` is recognised; see
    `columns`.

    Args:
      text: `NAME`, `NAME=WEIGHT` or `NAME(PARAMETER=VALUE, ...)=WEIGHT`. Values are
        numbers, lists, true, false, null, words, or text in quotes, backslashes as
        they stand.
      models: Further functions by name, which compute models and have their time.
      processes: Where the user's functions run; new ones by default, which end when the
        reward is dropped.

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
    text = shown_reward(text)  # from here on it stands in messages only
    own = of_every_reward(given)
    if ":" in name:
        function = _user_function(name, text, processes or Processes())
        if function.signature is not None:
            columns = function.takes_columns
            _check_parameters(function.signature, given, text, columns=columns)
            _check_form(function, function.signature, given, text)
        function.given = given
        return Reward(function.name, function, weight, **own)
    if name in models:
        own.setdefault("time_limit", None)
    function = _known(name, text, BUILT_IN | dict(models))
    _check_parameters(inspect.signature(function), given, text)
    bound = functools.partial(function, **given) if given else function
    try:
        bound([])  # refuses parameters that mean nothing
    except UserError as error:
        raise UserError(f"--reward {text!r}: {error}") from error
    return Reward(name, bound, weight, **own)


def of_every_reward(given: dict[str, Any]) -> dict[str, Any]:
    """Takes out of parameters those that are no function's: fields of `Reward`."""
    return {k: given.pop(k) for k in _OF_EVERY_REWARD if k in given}


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
            for p in _options(inspect.signature(function))
        )
        summary = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        lines += [f"  {name}({parameters})", f"      {summary}"]
    return "\n".join(
        [
            *lines,
            "Your own: path/to/file.py:function or package.module:function, which is",
            "f(completions) or f(prompts, completions, **columns).",
            "A reward model: the folder that `jaxalign reward` exported.",
            "It runs in a process of its own; what it prints is in the run's logs/.",
            "Whoever names `step` gets the number of the iteration.",
            "A judge is a model's folder, or with url='http://...' a model behind any",
            "server of OpenAI's chat completions; key=VARIABLE names the environment's",
            "variable that holds its key. Its replies are kept in the run's judges/.",
            "Every reward takes fallback=VALUE for completions that it fails on, and",
            "time_limit=SECONDS for one call. A weight stands behind: exact_match=0.5.",
        ]
    )


def _options(signature: inspect.Signature) -> list[inspect.Parameter]:
    parameters = signature.parameters.values()
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY]


def _known(name: str, text: str, named: Named) -> Callable[..., Any]:
    if name in named:
        return named[name]
    if Path(name).is_dir():
        raise UserError(
            f"--reward {text!r}: {name} is a folder. A reward model can stand here for "
            "a run; in code it is model_reward(load_scorer(folder))."
        )
    near = difflib.get_close_matches(name, named, 1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise UserError(
        f"--reward {text!r}: there is no reward `{name}`. Built in are "
        f"{', '.join(named)}; your own is file.py:function.{hint}"
    )


def _user_function(name: str, text: str, processes: Processes) -> UserFunction:
    origin, _, attribute = name.rpartition(":")
    origin, attribute = origin.strip(), attribute.strip()
    if origin.endswith(".py") and not Path(origin).is_file():
        raise UserError(f"--reward {text!r}: there is no file {origin}.")
    try:
        return UserFunction(processes.of(origin), origin, attribute)
    except MissingInput as error:
        near = difflib.get_close_matches(attribute, error.has, 1)
        hint = (
            f"Did you mean `{near[0]}`?"
            if near
            else f"It has {', '.join(error.has) or 'none'}."
        )
        raise UserError(f"--reward {text!r}: {origin} {error} {hint}") from error
    except UserError as error:
        raise UserError(f"--reward {text!r}: {error}") from error


def _check_parameters(
    signature: inspect.Signature, given: dict[str, Any], text: str, *, columns=False
) -> None:
    """Refuses parameters that a function does not take, or that are missing.

    With `columns` what is missing may be a column of the rows.
    """
    parameters = signature.parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    by_name = [
        p.name
        for p in parameters.values()
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in SHOWN
    ]
    options = [p.name for p in _options(signature)]
    for name in given:
        if name in SHOWN or (name not in by_name and not takes_all):
            takes = ", ".join([*options, *_OF_EVERY_REWARD])
            raise UserError(
                f"--reward {text!r}: it has no parameter `{name}`; it takes {takes}."
            )
    for p in () if columns else _options(signature):
        if p.default is p.empty and p.name not in (*given, STEP):
            raise UserError(
                f"--reward {text!r}: it needs the parameter `{p.name}`: "
                f"({p.name}=VALUE)."
            )


def _check_form(
    function: UserFunction,
    signature: inspect.Signature,
    given: dict[str, Any],
    text: str,
) -> None:
    """Refuses functions that cannot be called as rewards are."""
    step = {STEP: 0} if STEP in signature.parameters else {}
    try:
        if function.takes_columns:
            columns = dict.fromkeys((*SHOWN, *function.needed))
            names = signature.parameters
            signature.bind(**{k: None for k in columns if k in names} | step | given)
        else:
            signature.bind([], **step | given)
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "nothing"
        raise UserError(
            f"--reward {text!r}: {function.origin}:{function.name} takes {takes}. A "
            "reward is f(completions) or f(prompts, completions, **columns); what else "
            "it takes needs a default, or a value here: (NAME=VALUE)."
        ) from error
