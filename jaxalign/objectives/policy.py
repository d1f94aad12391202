"""Policy-gradient losses with further terms: a divergence, an entropy, a critic."""

import functools
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses import LossOutput, ppo_value_loss
from jaxalign.ops import Mean, masked, sum_of_means, token_mean

Divergence = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""`(logps, ref_logps, mask) -> [..., T]`, as `kl_k2`."""


def regularised(
    loss: Callable[..., LossOutput],
    *,
    kl: Divergence | None = None,
    kl_coef: float = 0.0,
    entropy_coef: float = 0.0,
) -> Callable[..., LossOutput]:
    """A policy loss with terms that are added token by token, as a loss.

    Args:
      loss: `(logps, old_logps, advantages, mask, ...) -> LossOutput`, as `grpo_loss`.
        If it has an argument `penalty`, that gets the terms, which are aggregated as
        the loss is; else they are a mean over tokens of their own.
      kl: Estimator of the divergence from the reference, or None. It takes the place of
        a KL term that the loss would add by itself where there is a reference.
      kl_coef: Its weight.
      entropy_coef: Weight of the entropy, which is subtracted.

    Returns:
      A loss with the arguments of `loss` and, where they are needed, `ref_logps` and
      `entropy`; its metrics are those of `loss`, `policy_loss` (without the terms that
      are added) and, where it is given, `entropy` and `entropy_coef`.

    >>> from jaxalign.losses import grpo_loss
    >>> "entropy" in inspect.signature(regularised(grpo_loss)).parameters
    True
    """
    own = inspect.signature(loss).parameters
    if kl is not None and "beta" in own and own["beta"].default is None:
        # None is the paper's weight of k3 in `grpo_loss`: a second KL term.
        loss = functools.partial(loss, beta=0.0)
        own = inspect.signature(loss).parameters

    def terms(entropy, arrays) -> jax.Array | None:
        """The value of all terms at each token."""
        total = None
        if kl is not None:
            if arrays.get("ref_logps") is None:
                raise UserError("a KL term needs the batch's ref_logps")
            ref = jax.lax.stop_gradient(arrays["ref_logps"])
            total = kl_coef * kl(arrays["logps"], ref, arrays["mask"])
        if entropy_coef:
            if entropy is None:
                raise UserError("an entropy term needs bind(..., entropy=True)")
            term = -entropy_coef * masked(entropy, arrays["mask"])
            total = term if total is None else total + term
        return total

    def total(*, entropy: jax.Array | None = None, **arrays) -> LossOutput:
        added, given = terms(entropy, arrays), {}
        if "entropy" in own:
            given["entropy"] = entropy
        if added is not None and "penalty" in own:
            given["penalty"] = added
        out = loss(**{k: v for k, v in arrays.items() if k in own}, **given)
        value, metrics = out.loss, {"policy_loss": out.loss, **out.metrics}
        if added is not None and "penalty" not in own:
            value = sum_of_means((1.0, value), (1.0, token_mean(added, arrays["mask"])))
        if entropy is not None:
            metrics["entropy"] = Mean.of(entropy, where=arrays["mask"])
        if entropy_coef:
            once = jnp.ones(())
            metrics["entropy_coef"] = Mean(entropy_coef * once, once)
        return LossOutput(value, metrics)

    return _with_arguments(total, own, ref_logps=kl is not None, entropy=True)


def value_loss(
    values: jax.Array,
    old_values: jax.Array,
    returns: jax.Array,
    mask: jax.Array,
    *,
    coef: float = 0.1,
    clip: float = 0.2,
) -> LossOutput:
    """The critic's part of PPO alone, for a warm-up in which the policy stands still.

    Args:
      values: `[..., T]`, of the critic.
      old_values: `[..., T]`, when the completions were sampled.
      returns: `[..., T]`.
      mask: `[..., T]` bool.
      coef: Weight of the value loss.
      clip: That of the values.

    Returns:
      `ppo_value_loss` times `coef`, with its metrics and `loss/value_avg`.
    """
    out = ppo_value_loss(values, old_values, returns, mask, clip=clip)
    metrics = {**out.metrics, "loss/value_avg": out.loss}
    return LossOutput(Mean(coef * out.loss.total, out.loss.weight), metrics)


def _with_arguments(function, own, **more: bool) -> Callable[..., LossOutput]:
    """The function with a signature: that of `own`, and optional arrays beside."""
    names = [name for name, wanted in more.items() if wanted and name not in own]
    extra = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=jax.Array
        )
        for name in names
    ]
    plain = functools.wraps(function)(lambda **arrays: function(**arrays))
    plain.__signature__ = inspect.Signature([*own.values(), *extra])  # pyright: ignore[reportAttributeAccessIssue]
    return plain
