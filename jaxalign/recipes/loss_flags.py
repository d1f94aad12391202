"""Preference losses by their functions' names, with their own keywords as settings."""

import dataclasses
import difflib
import inspect
import re
import typing
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxalign import losses
from jaxalign.errors import UserError
from jaxalign.losses import LossOutput, Pair
from jaxalign.objectives import EXTRAS, RUNNING, running_of

Loss = Callable[..., LossOutput]


def pairwise_losses() -> list[str]:
    """Names of the losses that read pairs, perhaps a reference, and `EXTRAS`.

    >>> {"dpo_loss", "simpo_loss"} <= {*pairwise_losses()}
    True
    """
    names = (name for name in losses.__all__ if name.endswith("_loss"))
    return [n for n in names if _plain(getattr(losses, n)) in PAIRWISE]


def ranked_losses() -> list[str]:
    """Names of the losses that read K answers to a prompt, and perhaps their rewards.

    >>> ranked_losses()
    ['infonca_loss', 'plackett_luce_dpo_loss']
    """
    names = (name for name in losses.__all__ if name.endswith("_loss"))
    return [n for n in names if _arrays(getattr(losses, n)) in RANKED]


def find_loss(name: str) -> Loss:
    """The pairwise or ranked loss of that name.

    Raises:
      UserError: There is none, or it reads arrays that such rows do not have.
    """
    known = [*pairwise_losses(), *ranked_losses()]
    if name in known:
        return getattr(losses, name)
    if name in losses.__all__ and name.endswith("_loss"):
        reads = [*inspect.signature(getattr(losses, name)).parameters.values()]
        needs = ", ".join(p.name for p in reads if p.kind is p.POSITIONAL_OR_KEYWORD)
        raise UserError(
            f"--loss {name} reads ({needs}), and rows of pairs or rankings give "
            "policy, ref and mask. Call it from Python with make_train_step, or choose "
            f"among {', '.join(known)}."
        )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean `{near[0]}`?" if near else f"There are {', '.join(known)}."
    raise UserError(f"--loss {name}: no preference loss has this name. {hint}")


def hyperparameters(loss: Loss) -> dict[str, float]:
    """The keywords of a loss that are numbers, with their defaults.

    >>> hyperparameters(losses.dpo_loss)
    {'beta': 0.1, 'label_smoothing': 0.0}
    """
    keywords = inspect.signature(loss).parameters.values()
    return {p.name: p.default for p in keywords if isinstance(p.default, float)}


def config_for(name: str, base: type) -> type:
    """`base` with the keywords of a loss as further fields, and `loss` set to it.

    Args:
      name: Of a pairwise loss.
      base: A frozen dataclass with a field `loss`.

    Returns:
      A frozen dataclass; what its fields mean is said as in the loss's docstring.
    """
    import tyro

    loss = find_loss(name)
    about = arguments(loss)
    fields: list[Any] = [("loss", str, dataclasses.field(default=name))]
    for keyword, default in hyperparameters(loss).items():
        kind = Annotated[float, tyro.conf.arg(help=about[keyword])]
        fields.append((keyword, kind, dataclasses.field(default=default)))
    doc = {"__doc__": base.__doc__, "__module__": base.__module__}
    return dataclasses.make_dataclass(
        "Config", fields, bases=(base,), namespace=doc, frozen=True, kw_only=True
    )


def checked(loss: Loss, values: dict[str, float]) -> None:
    """Lets a loss refuse its hyperparameters, before anything is read.

    Raises:
      UserError: With the loss's own words.
    """
    ranked = _arrays(loss) in RANKED
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    number = jax.ShapeDtypeStruct((1, 1) if ranked else (1,), jnp.float32)
    token = jax.ShapeDtypeStruct((*number.shape, 1), jnp.float32)
    mask = jax.ShapeDtypeStruct(token.shape, jnp.bool_)
    unlike = {"mask": mask, "reward_gap": number, "win_rate": number, "rewards": number}
    unlike |= dict.fromkeys(RUNNING, scalar)
    single = ("reward_gap", *RUNNING)
    arrays = {
        name: x if ranked or name in single else Pair(x, x)
        for name, _ in _arrays(loss)
        for x in [unlike.get(name, token)]
    }
    try:
        jax.eval_shape(lambda x: loss(**x, **values), arrays)
    except ValueError as error:
        raise UserError(str(error)) from error


def arguments(loss: Loss) -> dict[str, str]:
    """What a docstring says of each argument, in one line each.

    >>> arguments(losses.ipo_loss)["tau"]
    'Strength of the pull towards the reference, > 0.'
    """
    doc = inspect.getdoc(loss) or ""
    section = doc.partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.split(r"\n?^  (\w+): ", section, flags=re.MULTILINE)[1:]
    texts = (" ".join(text.split()) for text in entries[1::2])
    return dict(zip(entries[::2], texts, strict=True))


def reads(loss: Loss, name: str) -> bool:
    """Whether an array of that name is among a loss's arguments.

    >>> reads(losses.wpo_loss, "log_sum_squares")
    True
    """
    return any(name == x for x, _ in _arrays(loss))


def memory_of(name: str | None) -> Any:
    """What the state of a new run with such a `--loss` remembers; mostly nothing.

    >>> memory_of("dpo_loss")
    ()
    """
    rule = running_of(find_loss(name)) if name in pairwise_losses() else None
    return () if rule is None else rule.memory


def _plain(loss: Loss) -> tuple[tuple[str, Any], ...]:
    """The arrays that are not `EXTRAS`."""
    return tuple(x for x in _arrays(loss) if x[0] not in EXTRAS)


def _arrays(loss: Loss) -> tuple[tuple[str, Any], ...]:
    """Name and kind of the arguments that are arrays."""
    parameters = inspect.signature(loss).parameters.values()
    return tuple(
        (p.name, typing.get_origin(p.annotation) or p.annotation)
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD
    )


PAIRWISE = (
    (("policy", Pair), ("ref", Pair), ("mask", Pair)),
    (("policy", Pair), ("mask", Pair)),
)
_ANSWERS = (("policy", jax.Array), ("ref", jax.Array), ("mask", jax.Array))
RANKED = (_ANSWERS, (*_ANSWERS, ("rewards", jax.Array)))
