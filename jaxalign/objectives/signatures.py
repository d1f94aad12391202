"""What a loss reads, by its own signature, and refusals of what it does not."""

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

from jaxalign.errors import UserError
from jaxalign.losses import LossOutput


def array_names(loss_fn: Callable[..., LossOutput]) -> list[str]:
    """The arguments of a loss that are arrays.

    >>> from jaxalign.losses import dpo_loss
    >>> array_names(dpo_loss)
    ['policy', 'ref', 'mask']
    """
    parameters = inspect.signature(loss_fn).parameters.values()
    arrays = (p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    return [p.name for p in arrays if p.default is p.empty]


def takes_ref(loss_fn: Callable[..., LossOutput]) -> bool:
    """Whether a preference loss reads the reference, by its own signature.

    >>> from jaxalign.losses import dpo_loss
    >>> takes_ref(dpo_loss)
    True
    """
    return "ref" in array_names(loss_fn)


def check_keywords(loss_fn: Callable[..., Any], keywords: Iterable[str]) -> None:
    """Refuses keywords that a loss does not have, and the lack of those that it needs.

    Args:
      loss_fn: The loss.
      keywords: What it is to be called with.

    Raises:
      UserError: One is unknown, with the nearest that there is; or one is missing.

    >>> from jaxalign.losses import dpo_loss
    >>> check_keywords(dpo_loss, ["bta"])
    Traceback (most recent call last):
    ...
    jaxalign.errors.UserError: dpo_loss has no hyperparameter `bta`. Did you mean
    `beta`?
    """
    parameters = inspect.signature(loss_fn).parameters.values()
    keywords = [*keywords]
    optional = [p.name for p in parameters if p.default is not p.empty]
    only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    missing = [x for x in only if x not in (*optional, *keywords)]
    if missing:
        raise UserError(f"{_name(loss_fn)} needs {_listed(missing)}.")
    check_known(loss_fn, keywords, [*optional, *only])


def check_known(
    loss_fn: Callable[..., Any], keywords: Iterable[str], known: Collection[str]
) -> None:
    """Refuses keywords that a loss does not have, and names the nearest that there is.

    Args:
      loss_fn: The loss; whatever it is called with is known to one with `**`.
      keywords: What it is to be called with.
      known: What it has.

    Raises:
      UserError: One is unknown.
    """
    parameters = inspect.signature(loss_fn).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    for name in keywords:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"Did you mean `{near[0]}`?" if near else f"It has {_listed(known)}."
            raise UserError(f"{_name(loss_fn)} has no hyperparameter `{name}`. {hint}")


def _name(loss_fn: Any) -> str:
    loss_fn = getattr(loss_fn, "func", loss_fn)
    return getattr(loss_fn, "__name__", str(loss_fn))


def _listed(names: Collection[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "none"
