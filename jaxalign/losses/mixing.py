"""Weighted sums of losses, and a published one."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import scalar, sum_pairs
from jaxalign.ops import Mean, sum_of_means
from jaxalign.ops.checks import check_not_negative, check_positive


def combine(
    outputs: Mapping[str, LossOutput], weights: Mapping[str, float]
) -> LossOutput:
    """The weighted sum of losses, each the mean over its own pairs, tokens or texts.

    A term is divided by its own weight over the whole batch, so the sum is right
    whatever the terms count and however the batch is split. `make_train_step` then
    adds up the weights of all parts and devices first, which costs next to nothing
    where they follow from masks: compiled, nothing else of the losses is computed for
    it. The rest is one backward pass, as for any loss.

    Args:
      outputs: Losses by name.
      weights: A number for each of these names, Python or traced.

    Returns:
      The weighted sum, a `SumOfMeans`; the metrics of all terms (the first one's where
      names repeat), and each term as `loss/{name}`.

    Raises:
      UserError: If the names differ, or there is none.

    >>> a = LossOutput(Mean(jnp.array(6.0), jnp.array(3.0)), {})
    >>> b = LossOutput(Mean(jnp.array(5.0), jnp.array(1.0)), {})
    >>> print(combine({"a": a, "b": b}, {"a": 1.0, "b": 0.5}).loss.value)
    4.5
    """
    if not outputs or outputs.keys() != weights.keys():
        raise UserError(
            f"combine needs one weight for each loss, got losses {[*outputs]} and "
            f"weights {[*weights]}"
        )
    loss = sum_of_means(*((weights[name], out.loss) for name, out in outputs.items()))
    metrics: dict[str, Mean] = {}
    for name, out in outputs.items():
        metrics = {**out.metrics, **metrics, f"loss/{name}": out.loss}
    return LossOutput(loss, metrics)


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
      dpo_weight: Weight w_p of the DPO term, ≥ 0.
      bco_weight: Weight w_q of the BCO term, ≥ 0.
      nll_weight: Weight w_g of the log-likelihood, ≥ 0.

    Returns:
      The mean over pairs, the metrics of `bco_loss`, and `loss/dpo`, `loss/bco`,
      `loss/nll`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(mixed_preference_loss(lp, lp, mask, jnp.array(0.0)).loss.value)
    1.8317766
    """
    check_positive("beta", beta)
    check_not_negative("dpo_weight", dpo_weight)
    check_not_negative("bco_weight", bco_weight)
    check_not_negative("nll_weight", nll_weight)
    pairs = sum_pairs(policy, mask, ref)
    delta = scalar("delta", delta, pairs.chosen)
    chosen, rejected = rewards = pairs.rewards(beta)
    dpo = pairwise_logistic(chosen - rejected)
    bco = pairwise_logistic(chosen - delta) + pairwise_logistic(delta - rejected)
    nll = -pairs.chosen.mean_logps
    losses = dpo_weight * dpo + bco_weight * bco + nll_weight * nll
    metrics = {"loss/dpo": dpo, "loss/bco": bco, "loss/nll": nll}
    metrics["delta"] = jnp.broadcast_to(delta, losses.shape)
    return pair_output(losses, pairs, rewards, **metrics)
