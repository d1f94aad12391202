"""Preference losses by their functions' names, with their own keywords as settings."""

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxalign import losses
from jaxalign.errors import UserError
from jaxalign.losses import LossOutput, Pair
from jaxalign.objectives import RUNNING
from jaxalign.recipes.flags.keyword_flags import with_keywords

Loss = Callable[..., LossOutput]
EXTRAS = ("kl", "log_sum_squares", "reward_gap", "win_rate", *RUNNING)
"""What a loss may read beside log-probabilities, by the names of its arguments."""
RowKind = Literal["pairs", "rankings", "completions"]
"""Two completions of a prompt; several; one, which is desirable or undesirable."""


def pairwise_losses() -> list[str]:
    """Names of the losses that read pairs, perhaps a reference, and `EXTRAS`.

    >>> {"dpo_loss", "simpo_loss"} <= {*pairwise_losses()}
    True
    """
    return losses_on("pairs")


def losses_on(rows: RowKind) -> list[str]:
    """Names of the losses that read such rows, perhaps a reference, and `EXTRAS`.

    >>> losses_on("rankings")
    ['infonca_loss', 'plackett_luce_dpo_loss']
    """
    names = (name for name in losses.__all__ if name.endswith("_loss"))
    return [n for n in names if rows_of(getattr(losses, n)) == rows]


def rows_of(loss: Loss) -> RowKind | None:
    """What rows a loss can be trained on, by its arguments.

    >>> rows_of(losses.bco_unpaired_loss)
    'completions'
    """
    plain = tuple(x for x in _arrays(loss) if x[0] not in EXTRAS)
    return next((rows for rows, reads in READS.items() if plain in reads), None)


def find_loss(name: str) -> Loss:
    """The loss of that name.

    Raises:
      UserError: There is none, or it reads arrays that rows do not have.
    """
    known = [x for rows in READS for x in losses_on(rows)]
    if name in known:
        return getattr(losses, name)
    if name in losses.__all__ and name.endswith("_loss"):
        reads = [*inspect.signature(getattr(losses, name)).parameters.values()]
        needs = ", ".join(p.name for p in reads if p.kind is p.POSITIONAL_OR_KEYWORD)
        raise UserError(
            f"--loss {name} reads ({needs}), and rows of preferences give "
            "policy, ref and mask. Call it from Python with make_train_step, or choose "
            f"among {', '.join(known)}."
        )
    # At difflib's own 0.6 `dpo` would not find `dpo_loss`.
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean `{near[0]}`?" if near else f"There are {', '.join(known)}."
    raise UserError(f"--loss {name}: no preference loss has this name. {hint}")


def config_for(name: str, base: type) -> type:
    """`base` with the keywords of a loss as further fields, and `loss` set to it.

    Args:
      name: Of a preference loss.
      base: A frozen dataclass with a field `loss`.
    """
    return with_keywords(base, find_loss(name), loss=name)


def checked(loss: Loss, values: Mapping[str, float], *more: str) -> None:
    """Lets a loss refuse its hyperparameters, before anything is read.

    Args:
      loss: The loss.
      values: Its keywords.
      *more: Arrays `[..., T]` with a default that it is given as well.

    Raises:
      UserError: With the loss's own words.
    """
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    number = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    token = jax.ShapeDtypeStruct((*number.shape, 1), jnp.float32)
    mask = jax.ShapeDtypeStruct(token.shape, jnp.bool_)
    flag = jax.ShapeDtypeStruct(number.shape, jnp.bool_)
    unlike = {"mask": mask, "desirable": flag, "z0": scalar}
    unlike |= dict.fromkeys(RUNNING, scalar)
    unlike |= dict.fromkeys(("reward_gap", "win_rate", "rewards"), number)
    arrays = {
        name: Pair(x, x) if kind is Pair else x
        for name, kind in _arrays(loss)
        for x in [unlike.get(name, token)]
    } | dict.fromkeys(more, token)
    try:
        # On shapes alone: the loss runs its checks, and no arithmetic.
        jax.eval_shape(lambda x: loss(**x, **values), arrays)
    except ValueError as error:
        raise UserError(str(error)) from error


def _arrays(loss: Loss) -> tuple[tuple[str, Any], ...]:
    """Name and kind of the arguments that are arrays."""
    parameters = inspect.signature(loss).parameters.values()
    return tuple(
        # With `from __future__ import annotations` in a loss's file it would be text.
        (p.name, typing.get_origin(p.annotation) or p.annotation)
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD
    )


_COMPLETIONS = (("policy", jax.Array), ("ref", jax.Array), ("mask", jax.Array))
READS: Mapping[RowKind, tuple[tuple[tuple[str, Any], ...], ...]] = {
    "pairs": (
        (("policy", Pair), ("ref", Pair), ("mask", Pair)),
        (("policy", Pair), ("mask", Pair)),
    ),
    "rankings": (_COMPLETIONS, (*_COMPLETIONS, ("rewards", jax.Array))),
    "completions": ((*_COMPLETIONS, ("desirable", jax.Array)),),
}
"""What the losses on each kind of rows read, beside `EXTRAS`."""
