"""Binary Classifier Optimization: each response against a shift, not a rival."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import labelled_output, pair_output
from jaxalign.losses.responses import (
    check_labels,
    constant,
    scalar,
    sum_pairs,
    sum_responses,
)
from jaxalign.ops.checks import check_positive


def bco_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    delta: jax.Array,
    *,
    beta: float = 0.1,
) -> LossOutput:
    """Binary Classifier Optimization on pairs.

        −log σ(β h(y_w) − δ) − log σ(−(β h(y_l) − δ))

    Jung et al., https://arxiv.org/abs/2404.04656. The shift δ is the mean of the
    rewards β h of both sides over all batches so far, this one included; it comes from
    the caller, so that this loss may be split. `jaxalign.objectives.bind` keeps it
    in the training state.

    In TRL: `bco_pair`, which has no δ; that of `BCOTrainer` moves within a batch, at
    each accumulation step.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      delta: The shift, a scalar, float; no gradient.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, the metrics of `dpo_loss`, and `delta`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(bco_loss(lp, lp, mask, jnp.array(0.0)).loss.value)  # 2 log 2
    1.3862944
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    delta = scalar("delta", delta, pairs.chosen)
    chosen, rejected = rewards = pairs.rewards(beta)
    losses = pairwise_logistic(chosen - delta) + pairwise_logistic(delta - rejected)
    shown = jnp.broadcast_to(delta, losses.shape)
    return pair_output(losses, pairs, rewards, delta=shown)


def bco_unpaired_loss(
    policy: jax.Array,
    ref: jax.Array,
    mask: jax.Array,
    desirable: jax.Array,
    delta: jax.Array,
    *,
    beta: float = 0.1,
    weights: jax.Array | None = None,
) -> LossOutput:
    """Binary Classifier Optimization on single responses that are good or bad.

        −log σ(β h(y) − δ) if desirable, else −ω log σ(−(β h(y) − δ))

    Jung et al., https://arxiv.org/abs/2404.04656; δ as for `bco_loss`. The
    weights ω are density ratios between the prompts of good and of bad responses, for
    data in which these differ.

    In TRL: `BCOTrainer` of earlier releases, whose δ moves at each accumulation step.

    Args:
      policy: Token log-probabilities under the policy, `[..., T]`, float.
      ref: The same tokens under the frozen reference, `[..., T]`, float.
      mask: True on response tokens, `[..., T]`, bool.
      desirable: Which responses are good, `[...]`, bool.
      delta: The shift, a scalar, float; no gradient.
      beta: Strength of the pull towards the reference, > 0.
      weights: ω of each response, `[...]`, float; read for the undesirable ones.

    Returns:
      The mean over responses, and the metrics `rewards/chosen`, `logps/chosen` of the
      desirable ones and `rewards/rejected`, `logps/rejected` of the others.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp, mask = jnp.array([[-1.0], [-2.0]]), jnp.array([[True], [True]])
    >>> good = jnp.array([True, False])
    >>> print(bco_unpaired_loss(lp, lp, mask, good, jnp.array(0.0)).loss.value)
    0.6931472
    """
    check_positive("beta", beta)
    responses = sum_responses(policy, mask, ref)
    check_labels("desirable", desirable, responses)
    delta = scalar("delta", delta, responses)
    rewards = beta * responses.log_ratios
    bad = pairwise_logistic(delta - rewards)
    if weights is not None:
        bad = constant("weights", weights, responses) * bad
    losses = jnp.where(desirable, pairwise_logistic(rewards - delta), bad)
    return labelled_output(losses, responses, rewards, desirable)
