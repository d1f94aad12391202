"""Flags from the keywords of algorithms: defaults, help and checks are theirs."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxalign import rl
from jaxalign.errors import UserError
from jaxalign.recipes.flags.keyword_flags import Field, arguments, with_fields

Make = Callable[..., Any]
"""A function of keywords alone, such as `rl.grpo`."""


class Keyword(NamedTuple):
    """A keyword of an algorithm.

    Attributes:
      kind: Its annotation.
      default: What it is by default.
      help: What the docstring says of it.
    """

    kind: Any
    default: Any
    help: str


def keywords(make: Make) -> dict[str, Keyword]:
    """The keywords of an algorithm, with those that all policy gradients have.

    >>> keywords(rl.grpo)["clip"].default, keywords(rl.grpo)["kl_coef"].default
    (0.2, 0.0)
    """
    own = inspect.signature(make).parameters.values()
    found = {p.name: _keyword(make, p) for p in own if p.kind is p.KEYWORD_ONLY}
    if any(p.kind is p.VAR_KEYWORD for p in own):
        base = inspect.signature(rl.policy_gradient).parameters
        names = rl.Options.__annotations__
        found |= {x: _keyword(rl.policy_gradient, base[x]) for x in names}
    return found


def with_algorithms(
    base: type, makes: Sequence[Make], flags: Mapping[str, str], *, without=()
) -> type:
    """A dataclass with the keywords of some algorithms as further fields.

    Where the defaults of algorithms differ, or not all have the keyword, the field is
    None by default: what the algorithm itself has.

    Args:
      base: A frozen dataclass.
      makes: The algorithms, of which a run has one.
      flags: What keywords are called as fields, where that is not their own name.
      without: Keywords that become no fields.

    Returns:
      The dataclass, called as `base`.
    """
    each = [keywords(x) for x in makes]
    fields: list[Field] = []
    for name in dict.fromkeys(x for known in each for x in known if x not in without):
        has = [known[name] for known in each if name in known]
        defaults = [x.default for x in has]
        kind, default, text = has[0]
        if len(has) < len(each) or any(x != default for x in defaults):
            own = ", ".join(dict.fromkeys(map(str, defaults)))
            kind, default = kind | None, None
            text = f"{text.rstrip('.')}; by default what the algorithm has ({own})."
        fields.append(Field(flags.get(name, name), kind, default, text))
    return with_fields(base, fields)


def call_with_flags(
    config: Any, make: Make, others: Sequence[Make], flags: Mapping[str, str], **more
) -> Any:
    """What the algorithm makes of its settings.

    Args:
      config: Of the class of `with_algorithms`.
      make: The algorithm.
      others: All algorithms whose keywords are fields.
      flags: As for `with_algorithms`.
      **more: Keywords that are no fields.

    Raises:
      UserError: A setting is out of its range; or one is given that the algorithm does
        not have.
    """
    known = keywords(make)
    for name in dict.fromkeys(x for other in others for x in keywords(other)):
        flag = flags.get(name, name)
        if name not in known and getattr(config, flag, None) is not None:
            has = ", ".join(flags.get(x, x) for x in known)
            raise UserError(f"{make.__name__} has no {flag}; it has {has}")
    fields = {name: getattr(config, flags.get(name, name), None) for name in known}
    given = {name: x for name, x in fields.items() if x is not None}
    try:
        # `more` wins: the field `kl_controller` holds a word, the keyword a function.
        return make(**given | more)
    except UserError as error:
        raise UserError(_named(str(error), flags)) from error


def _named(text: str, flags: Mapping[str, str]) -> str:
    """A message that begins with a keyword, with the flag's name in its place."""
    word, space, rest = text.partition(" ")
    return f"{flags.get(word, word)}{space}{rest}"


def _keyword(make: Make, parameter: inspect.Parameter) -> Keyword:
    name = parameter.name
    kind = typing.get_type_hints(make)[name]
    # What stands behind it is what the docstring says of `**options`.
    text = arguments(make)[name].partition(" **")[0]
    return Keyword(kind, parameter.default, text)
