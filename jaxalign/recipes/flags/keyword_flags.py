"""Keywords of functions as settings: defaults and help are the functions' own."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple


def hyperparameters(function: Callable[..., Any]) -> dict[str, float]:
    """The keywords of a function that are numbers, with their defaults.

    >>> from jaxalign.losses import dpo_loss
    >>> hyperparameters(dpo_loss)
    {'beta': 0.1, 'label_smoothing': 0.0}
    """
    keywords = inspect.signature(function).parameters.values()
    # None stands for an array that may be left out; whole numbers are settings of runs.
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
    about, kinds = arguments(function), typing.get_type_hints(function)
    names = hyperparameters(function)
    # A keyword that the docstring does not explain fails here, at the import.
    fields = [Field(x, kinds[x], value, about[x]) for x, value in names.items()]
    # Not a field: it would become a flag of its own.
    values = property(lambda config: {x: getattr(config, x) for x in names})
    given = [Field(x, str, value) for x, value in fixed.items()]
    return with_fields(base, [*given, *fields], keywords=values)


class Field(NamedTuple):
    """A setting that a function has.

    Attributes:
      name: As a flag.
      kind: Its annotation.
      default: What it is by default.
      help: What is said of it; None for what `base` says.
    """

    name: str
    kind: Any
    default: Any
    help: str | None = None


def with_fields(base: type, fields: Iterable[Field], **members: Any) -> Any:
    """A frozen dataclass with further fields, which tyro makes flags of.

    Args:
      base: A frozen dataclass; what it says of itself is what the command does.
      fields: The further ones.
      **members: What else the class has.
    """
    import tyro

    def one(x: Field) -> Any:
        about = x.help and tyro.conf.arg(help=x.help)
        kind = Annotated[x.kind, about] if about else x.kind
        return x.name, kind, dataclasses.field(default=x.default)

    return dataclasses.make_dataclass(
        "Config",
        map(one, fields),
        bases=(base,),
        namespace={"__doc__": base.__doc__, "__module__": base.__module__, **members},
        frozen=True,
        kw_only=True,
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
