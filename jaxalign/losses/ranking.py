"""Rankings of K answers: the Plackett–Luce model, and DPO on top of it."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput
from jaxalign.losses.responses import sum_responses
from jaxalign.ops import Mean, check_arrays
from jaxalign.ops.checks import check_positive


def plackett_luce_nll(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """−log probability of a ranking under the Plackett–Luce model.

        −Σₖ [sₖ − log Σ_{j ≥ k} exp sⱼ]

    Eq. 18 of https://arxiv.org/abs/2305.18290. The best is drawn first, then the best
    of what is left, and so on; with K = 2 it is the Bradley–Terry model.

    Args:
      scores: `[..., K]`, ranked from best to worst, float.
      mask: `[..., K]`, bool, which are there; K may vary.

    Returns:
      `[...]`; 0 for fewer than two scores.

    >>> three = jnp.ones(3, bool)
    >>> print(plackett_luce_nll(jnp.zeros(3), three))  # one of 3! equal orders
    1.7917595
    """
    check_arrays(scores=(scores, "float[..., K]"), mask=(mask, "bool[..., K]"))
    scores = jnp.where(mask, scores, 0.0)
    # Low but finite, so that a place with nothing behind it has no NaN gradient.
    low = jnp.where(mask, scores, jnp.finfo(scores.dtype).min / 2)
    rest = jax.lax.cumlogsumexp(low, axis=scores.ndim - 1, reverse=True)
    return jnp.sum(jnp.where(mask, rest - scores, 0.0), axis=-1)


def plackett_luce_dpo_loss(
    policy: jax.Array, ref: jax.Array, mask: jax.Array, *, beta: float = 0.1
) -> LossOutput:
    """DPO on K ranked answers; with K = 2 it is `dpo_loss`.

        −Σₖ [β h(yₖ) − log Σ_{j ≥ k} exp β h(yⱼ)]

    Eq. 20 of Rafailov et al., https://arxiv.org/abs/2305.18290, Appendix A.3. An answer
    without a token is left out of its ranking, and a ranking of fewer than two answers
    does not count. No gradient flows into `ref`.

    Args:
      policy: Token log-probabilities under the policy, best answer first,
        `[..., K, T]`, float.
      ref: The same tokens under the frozen reference, `[..., K, T]`, float.
      mask: True on response tokens, `[..., K, T]`, bool.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over rankings, and the metrics `rewards/chosen` and `logps/chosen` of the
      best, `rewards/rejected` and `logps/rejected` of the worst answer,
      `rewards/margins` between the two and `rewards/accuracies`, the share of all pairs
      that the rewards rank as given.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp, mask = jnp.array([[[-1.0], [-2.0], [-4.0]]]), jnp.ones((1, 3, 1), bool)
    >>> print(plackett_luce_dpo_loss(lp, lp, mask).loss.value)  # policy == ref: log 3!
    1.7917595
    """
    check_positive("beta", beta)
    answers = sum_responses(policy, mask, ref)
    there = answers.valid
    rewards = beta * answers.log_ratios
    losses = plackett_luce_nll(rewards, there)

    best = jnp.argmax(there, axis=-1)
    worst = there.shape[-1] - 1 - jnp.argmax(there[..., ::-1], axis=-1)
    valid = jnp.sum(there, axis=-1, dtype=jnp.int32) > 1

    def at(x, k):
        return jnp.take_along_axis(x, k[..., None], axis=-1)[..., 0]

    per_ranking = {
        "rewards/chosen": at(rewards, best),
        "rewards/rejected": at(rewards, worst),
        "rewards/margins": at(rewards, best) - at(rewards, worst),
        "logps/chosen": at(answers.logps, best),
        "logps/rejected": at(answers.logps, worst),
    }
    metrics = {name: Mean.of(x, where=valid) for name, x in per_ranking.items()}
    better, worse = jnp.triu_indices(there.shape[-1], k=1)
    metrics["rewards/accuracies"] = Mean.of(
        rewards[..., better] > rewards[..., worse],
        where=there[..., better] & there[..., worse],
    )
    return LossOutput(Mean.of(losses, where=valid), metrics)
