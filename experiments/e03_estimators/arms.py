"""The arms: what each makes of a batch of sampled groups.

All of it is the library's: an arm says which advantages go into which loss, and where
the KL term is. Arrays are `[N, K, L]`: N groups of K responses of at most L tokens.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses import (
    dapo_loss,
    dr_grpo_loss,
    grpo_loss,
    kl_score_loss,
    policy_gradient_loss,
    ppo_loss,
    ppo_policy_loss,
    reinforce_loss,
)
from jaxalign.ops import (
    Mean,
    batch_baseline_advantages,
    centered_group_advantages,
    fixed_length,
    gae,
    group_advantages,
    kl_k1,
    kl_k2,
    kl_k3,
    masked_whiten,
    reinforce_pp_advantages,
    reward_to_go,
    rloo_advantages,
    sequence_logps,
    sequence_sum,
)
from jaxalign.rewards import token_rewards


class Batch(NamedTuple):
    """Responses as they were sampled; nothing here has a gradient.

    Attributes:
      scores: `[N, K]`, gold rewards.
      mask: `[N, K, L]` bool.
      logps: `[N, K, L]`, under the policy that sampled.
      ref_logps: `[N, K, L]`.
      values: `[N, K, L]`, of the critic, before each token.
    """

    scores: jax.Array
    mask: jax.Array
    logps: jax.Array
    ref_logps: jax.Array
    values: jax.Array

    def token_rewards(self, beta) -> jax.Array:
        """The score at the last token, and −β times the log-ratio at each."""
        return token_rewards(
            self.scores, self.logps, self.ref_logps, self.mask, kl_coef=beta
        )

    def rewards(self, beta) -> jax.Array:
        """The same, summed: one reward for each response, `[N, K]`."""
        return jnp.sum(self.token_rewards(beta), axis=-1)

    def present(self) -> jax.Array:
        return jnp.any(self.mask, axis=-1)

    def spread(self, advantages: jax.Array) -> jax.Array:
        """Every token has the advantage of its response."""
        return jnp.broadcast_to(advantages[..., None], self.mask.shape)


Loss = Callable[[jax.Array, jax.Array, Batch, jax.Array], Mean]
"""`(logps, values, batch, beta) -> Mean`, of what the parameters say now."""


def reinforce(logps, values, batch, beta):
    return reinforce_loss(logps, batch.rewards(beta), batch.mask).loss


def batch_baseline(logps, values, batch, beta):
    advantages = batch_baseline_advantages(batch.rewards(beta), batch.present())
    spread = batch.spread(advantages)
    return policy_gradient_loss(logps, batch.logps, spread, batch.mask).loss


def rloo(logps, values, batch, beta):
    spread = batch.spread(rloo_advantages(batch.rewards(beta), batch.present()))
    return policy_gradient_loss(logps, batch.logps, spread, batch.mask).loss


def grpo(logps, values, batch, beta):
    spread = batch.spread(group_advantages(batch.rewards(beta), batch.present()))
    return grpo_loss(logps, batch.logps, spread, batch.mask, beta=0.0).loss


def dapo(logps, values, batch, beta):
    spread = batch.spread(group_advantages(batch.rewards(beta), batch.present()))
    return dapo_loss(logps, batch.logps, spread, batch.mask).loss


def dr_grpo(logps, values, batch, beta):
    advantages = centered_group_advantages(batch.rewards(beta), batch.present())
    return _dr_grpo(logps, batch, advantages)


def reinforce_pp(logps, values, batch, beta):
    to_go = reward_to_go(batch.token_rewards(beta), batch.mask)
    advantages = reinforce_pp_advantages(to_go, batch.mask)
    return ppo_policy_loss(logps, batch.logps, advantages, batch.mask).loss


def ppo(logps, values, batch, beta):
    advantages, returns = gae(batch.token_rewards(beta), batch.values, batch.mask)
    return ppo_loss(
        logps,
        batch.logps,
        masked_whiten(advantages, batch.mask),
        values,
        batch.values,
        returns,
        batch.mask,
    ).loss


def grpo_k3(logps, values, batch, beta):
    spread = batch.spread(group_advantages(batch.scores, batch.present()))
    return grpo_loss(
        logps, batch.logps, spread, batch.mask, beta=beta, ref_logps=batch.ref_logps
    ).loss


def dr_grpo_with(estimator) -> Loss:
    """Dr. GRPO with the estimator of every token's KL as a second term."""

    def loss(logps, values, batch, beta):
        advantages = centered_group_advantages(batch.scores, batch.present())
        kl = estimator(logps, batch.ref_logps, batch.mask)
        kl = fixed_length(kl, batch.mask, max_length=batch.mask.shape[-1])
        return _plus(_dr_grpo(logps, batch, advantages), beta, kl)

    return loss


def rloo_with(penalty: Callable[[jax.Array, Batch], Mean]) -> Loss:
    """RLOO with a second term; its advantages are unbiased, so that β is β."""

    def loss(logps, values, batch, beta):
        spread = batch.spread(rloo_advantages(batch.scores, batch.present()))
        policy = policy_gradient_loss(logps, batch.logps, spread, batch.mask).loss
        return _plus(policy, beta, penalty(logps, batch))

    return loss


def token_k2(logps, batch):
    return sequence_sum(kl_k2(logps, batch.ref_logps, batch.mask), batch.mask)


def sequence_k2(logps, batch):
    whole, ref = (sequence_logps(x, batch.mask) for x in (logps, batch.ref_logps))
    return Mean.of(kl_k2(whole, ref, batch.present()), where=batch.present())


def score_form(logps, batch):
    return kl_score_loss(logps, batch.ref_logps, batch.mask).loss


def _dr_grpo(logps, batch, advantages) -> Mean:
    return dr_grpo_loss(
        logps,
        batch.logps,
        batch.spread(advantages),
        batch.mask,
        max_length=batch.mask.shape[-1],
    ).loss


def _plus(loss: Mean, beta, other: Mean) -> Mean:
    """Both are means over the same responses."""
    return Mean(loss.total + beta * other.total, loss.weight)


class Arm(NamedTuple):
    """A loss, and how many gradient steps are taken on each batch."""

    loss: Loss
    epochs: int = 1


IN_REWARD = {
    "reinforce": Arm(reinforce),
    "batch_baseline": Arm(batch_baseline),
    "rloo": Arm(rloo),
    "grpo": Arm(grpo),
    "dapo": Arm(dapo),
    "dr_grpo": Arm(dr_grpo),
    "reinforce_pp": Arm(reinforce_pp),
    "ppo": Arm(ppo, epochs=4),
}
"""KL in the reward."""

IN_LOSS = {
    "rloo_score_form": Arm(rloo_with(score_form)),
    "rloo_sequence_k2": Arm(rloo_with(sequence_k2)),
    "rloo_token_k2": Arm(rloo_with(token_k2)),
    "dr_grpo_k2": Arm(dr_grpo_with(kl_k2)),
    "dr_grpo_k3": Arm(dr_grpo_with(kl_k3)),
    "grpo_k3": Arm(grpo_k3),
    "dr_grpo_k1": Arm(dr_grpo_with(kl_k1)),
}
"""KL as a term of the loss."""

ARMS = IN_REWARD | IN_LOSS


def place_of_kl(arm: str) -> str:
    """Where an arm has its KL term: `reward`, `loss`, or `exact` for no samples."""
    if arm not in ARMS:
        return "exact"
    return "reward" if arm in IN_REWARD else "loss"
