"""Keywords of functions as settings: defaults and help are the functions' own."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable
from typing import Annotated, Any


def hyperparameters(function: Callable[..., Any]) -> dict[str, float]:
    """The keywords of a function that are numbers, with their defaults.

    >>> from jaxalign.losses import dpo_loss
    >>> hyperparameters(dpo_loss)
    {'beta': 0.1, 'label_smoothing': 0.0}
    """
    keywords = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in keywords if isinstance(p.default, float)}


def with_keywords(base: type, function: Callable[..., Any], **fixed: Any) -> Any:
    """A dataclass with the keywords of a function as further fields.

    Args:
      base: A frozen dataclass.
      function: Its keywords that are numbers become fields, with their defaults and
        what its docstring says of them.
      **fixed: New defaults of fields that `base` has, texts.

    Returns:
      A frozen dataclass, whose `keywords` is a dict of those fields' values.
    """
    import tyro

    about, kinds = arguments(function), typing.get_type_hints(function)
    fields: list[Any] = [
        (name, str, dataclasses.field(default=value)) for name, value in fixed.items()
    ]
    names = hyperparameters(function)
    for keyword, default in names.items():
        kind = Annotated[kinds[keyword], tyro.conf.arg(help=about[keyword])]
        fields.append((keyword, kind, dataclasses.field(default=default)))
    # tyro shows the docstring as what the command does.
    body = {
        "__doc__": base.__doc__,
        "__module__": base.__module__,
        # Not a field: it would become a flag of its own.
        "keywords": property(lambda config: {x: getattr(config, x) for x in names}),
    }
    return dataclasses.make_dataclass(
        "Config", fields, bases=(base,), namespace=body, frozen=True, kw_only=True
    )


def arguments(function: Callable[..., Any]) -> dict[str, str]:
    """What a docstring says of each argument, in one line each.

    >>> from jaxalign.losses import ipo_loss
    >>> arguments(ipo_loss)["tau"]
    'Strength of the pull towards the reference, > 0.'
    """
    doc = inspect.getdoc(function) or ""
    section = doc.partition("\nArgs:\n")[2].partition("\n\n")[0]
    # Lines that continue an entry are indented more, so only names begin a piece.
    entries = re.split(r"\n?^  (\w+): ", section, flags=re.MULTILINE)[1:]
    texts = (" ".join(text.split()) for text in entries[1::2])
    return dict(zip(entries[::2], texts, strict=True))
