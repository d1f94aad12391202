"""Weighted sums of losses, and a published one."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxalign.losses.base import (
    LossOutput,
    Pair,
    check_not_negative,
    check_positive,
)
from jaxalign.losses.bco import bco_loss
from jaxalign.losses.dpo import dpo_loss
from jaxalign.losses.pairs import sum_pairs
from jaxalign.ops import Mean


def combine(
    outputs: Mapping[str, LossOutput], weights: Mapping[str, float]
) -> LossOutput:
    """The weighted sum of losses that are means over the same things.

    Totals are added, so all terms must have one weight: as many pairs, or as many
    tokens. Terms of different weights have no sum that would add up over microbatches,
    and make the loss NaN rather than a wrong number.

    Args:
      outputs: Losses by name.
      weights: A number for each of these names, Python or traced.

    Returns:
      The weighted sum, the metrics of all terms (the first one's where names repeat),
      and each term as `loss/{name}`.

    Raises:
      ValueError: If the names differ, or there is none.

    >>> a, b = (LossOutput(Mean(jnp.array(x), jnp.array(2.0)), {}) for x in (2.0, 6.0))
    >>> print(combine({"a": a, "b": b}, {"a": 1.0, "b": 0.5}).loss.value)
    2.5
    """
    if not outputs or outputs.keys() != weights.keys():
        raise ValueError(
            f"combine needs one weight for each loss, got losses {[*outputs]} and "
            f"weights {[*weights]}"
        )
    losses = [out.loss for out in outputs.values()]
    weight = losses[0].weight
    total = jnp.zeros_like(losses[0].total)
    for name, loss in zip(outputs, losses, strict=True):
        part = weights[name] * loss.total
        total = total + jnp.where(loss.weight == weight, part, jnp.nan)
    metrics: dict[str, Mean] = {}
    for name, out in outputs.items():
        metrics = {**out.metrics, **metrics, f"loss/{name}": out.loss}
    return LossOutput(Mean(total, weight), metrics)


def mixed_preference_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    delta: jax.Array,
    *,
    beta: float = 0.1,
    dpo_weight: float = 0.8,
    bco_weight: float = 0.2,
    nll_weight: float = 1.0,
) -> LossOutput:
    """Mixed preference optimisation: preference, quality and generation in one.

        w_p DPO + w_q BCO − w_g a(y_w)

    Wang et al., https://arxiv.org/abs/2411.10442, Sec. 3.2. The likelihood is per token
    of its own response, so all three terms are means over pairs.

    In TRL: `loss_type=["sigmoid", "bco_pair", "sft"]` with `loss_weights`.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      delta: BCO's shift, a scalar, float; see `bco_loss`.
      beta: Strength of the pull towards the reference, > 0.
      dpo_weight: w_p ≥ 0.
      bco_weight: w_q ≥ 0.
      nll_weight: w_g ≥ 0.

    Returns:
      The mean over pairs, the metrics of `dpo_loss`, and `loss/dpo`, `loss/bco`,
      `loss/nll`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(mixed_preference_loss(lp, lp, mask, jnp.array(0.0)).loss.value)
    1.8317766
    """
    check_positive("beta", beta)
    weights = {"dpo": dpo_weight, "bco": bco_weight, "nll": nll_weight}
    for name, weight in weights.items():
        check_not_negative(f"{name}_weight", weight)
    pairs = sum_pairs(policy, mask, ref)
    nll = Mean.of(-pairs.chosen.mean_logps, where=pairs.valid)
    outputs = {
        "dpo": dpo_loss(policy, ref, mask, beta=beta),
        "bco": bco_loss(policy, ref, mask, delta, beta=beta),
        "nll": LossOutput(nll, {}),
    }
    return combine(outputs, weights)
