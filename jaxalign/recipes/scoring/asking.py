"""Who is asked by a reward that a language model gives."""

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from jaxalign.errors import UserError
from jaxalign.recipes.scoring.judge_rewards import JUDGES, read_judge_template
from jaxalign.rewards import Completion, Reward, read_reward
from jaxalign.rewards.requests import Respond
from jaxalign.rewards.served.client import Client, Clients
from jaxalign.rewards.served.endpoint import Endpoint

Asked: TypeAlias = Callable[[str, int], Respond]
"""From a folder and how many replies are computed at a time to the judge."""
_FIELDS = {x.name: x for x in dataclasses.fields(Endpoint)}
_OF_SERVERS = [x for x in _FIELDS if x not in ("url", "model")]


class Asking:
    """A reward that a language model gives: one in a folder, or one that is served.

    It takes the parameters of its function without `respond`, and in its place `model`,
    a folder, with `batch_size`, the replies computed at a time; or `url`, with `model`
    the name there, and the other fields of `Endpoint`.
    """

    def __init__(self, name: str, asked: Asked, clients: Clients):
        """Takes the reward's name, the judges in folders, and those that are served."""
        self._function, self._template = JUDGES[name]
        functools.update_wrapper(self, self._function)
        self.__name__ = name
        self._asked, self.clients = asked, clients
        # What help texts and the check of parameters read of it.
        self.__signature__ = _signature(self._function)

    def __call__(
        self,
        completions: list[Completion],
        *,
        model: str,
        url: str | None = None,
        batch_size: int = 16,
        **given: Any,
    ) -> list[float | None]:
        """The reward; parameters are checked without a completion too."""
        served = {k: given.pop(k) for k in _OF_SERVERS if k in given}
        if url is not None:
            respond = self.clients.of(Endpoint(url=url, model=model, **served))
        elif served:
            raise UserError(
                f"{next(iter(served))} is of use only with url='http://...', for a "
                "judge that a server answers for."
            )
        else:
            respond = self._asked(model, batch_size)
        return self._function(completions, respond=respond, **given)

    def digest(self, given: dict[str, Any]) -> str:
        """Of all that its values depend on, for a judge that is served."""
        # No reply depends on the key, the time limits and the counts.
        names = [x for x in given if x in ("url", "model", "parameters")]
        endpoint = Endpoint(**{x: given[x] for x in names})
        rest = {k: v for k, v in given.items() if k not in _FIELDS and k != "template"}
        template = read_judge_template(given.get("template"), self._template)
        about = [endpoint.digest(), template, rest]
        text = json.dumps(about, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def served_judges(rewards: Sequence[Reward]) -> dict[str, tuple[Asking, dict]]:
    """Rewards whose judge is served, with their parameters, by the rewards' names."""
    found = {}
    for reward in rewards:
        function = reward.function
        if isinstance(function, functools.partial) and "url" in function.keywords:
            inner = function.func
            if isinstance(inner, Asking) and function.keywords["url"] is not None:
                found[reward.name] = inner, function.keywords
    return found


def served_judge(text: str, clients: Clients) -> Client | None:
    """The judge of `rival_judge(url=..., model=...)`; None for any other text.

    Raises:
      UserError: It is such a text, but not understood.
    """
    # A folder may be called so, and goes first.
    if Path(text).exists() or not text.startswith(("judge(", "rival_judge(")):
        return None
    _, given, _ = read_reward(text)
    unknown = [x for x in given if x not in _FIELDS]
    missing = [x for x in ("url", "model") if x not in given]
    if unknown or missing:
        name, why = (unknown or missing)[0], "has no use" if unknown else "is missing"
        raise UserError(
            f"--judge: `{name}` {why} in its brackets. Write rival_judge(url='http://"
            f"...', model='NAME'); it takes {', '.join(_FIELDS)}."
        )
    return clients.of(Endpoint(**given))


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Of the function, with whoever is asked in the place of `respond`."""
    signature = inspect.signature(function)
    keyword = inspect.Parameter.KEYWORD_ONLY
    model = inspect.Parameter("model", keyword, annotation=str)
    own = [model if x.name == "respond" else x for x in signature.parameters.values()]
    url = inspect.Parameter("url", keyword, default=None, annotation=str)
    served = [
        inspect.Parameter(
            name, keyword, default=_default(_FIELDS[name]), annotation=Any
        )
        for name in _OF_SERVERS
    ]
    size = inspect.Parameter("batch_size", keyword, default=16, annotation=int)
    return signature.replace(parameters=[*own, size, url, *served])


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
