"""From scores and log-probs to advantages: `compute_advantages`, one pure function."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.ops import Mean, masked, masked_rescale, moving_baseline
from jaxalign.rewards import token_rewards
from jaxalign.rl.algorithm import Algorithm
from jaxalign.rl.credit import Sampled
from jaxalign.rl.metrics import (
    completion_metrics,
    explained_variance,
    kl_metrics,
    sampler_metrics,
)
from jaxalign.rl.state import Control

BASELINE_DECAY = 0.9  # the mean of about the last ten iterations


class RolloutArrays(NamedTuple):
    """All that is known of an iteration's completions, as arrays `[G, K, ...]`.

    Attributes:
      tokens: `[G, K, N]` bool, the tokens of every completion.
      used: `[G, K]` bool, the completions to learn from.
      stopped: `[G, K]` bool.
      scores: `[G, K]`, less `centre`; 0 where no reward applies.
      sampler_logps: `[G, K, N]`.
      logps: `[G, K, N]`, of the trainer before the first update.
      silent: Scalar bool, whether no rewards differed that are compared.
      ref_logps: `[G, K, N]`, or None.
      values: `[G, K, N]`, or None.
      greedy: `[G]`, or None.
      own: `[G, K]` bool, the completions that the policy wrote; None for all.
      centre: `[G]`, what was taken off the scores before, or None.
    """

    tokens: jax.Array
    used: jax.Array
    stopped: jax.Array
    scores: jax.Array
    sampler_logps: jax.Array
    logps: jax.Array
    silent: jax.Array
    ref_logps: jax.Array | None = None
    values: jax.Array | None = None
    greedy: jax.Array | None = None
    own: jax.Array | None = None
    centre: jax.Array | None = None

    def add_centre(self, values: jax.Array) -> jax.Array:
        """What was taken off, given back to values `[G, K]`, for metrics."""
        return values if self.centre is None else values + self.centre[:, None]


def compute_advantages(
    algorithm: Algorithm, arrays: RolloutArrays, control: Control
) -> tuple[dict[str, jax.Array], Control, dict[str, Mean]]:
    """Credit for every token, with the KL term in the rewards where it belongs there.

    Args:
      algorithm: Its credit, KL term and weights.
      arrays: What is known of the completions.
      control: What follows them, as it was before this iteration.

    Returns:
      Columns `[G, K, N]` by name for `Batch.with_tokens`, what follows the completions
      for the next iteration, and metrics.
    """
    # From here on what is not learnt from is masked: whitening must not see it.
    mask = arrays.tokens & arrays.used[..., None]
    scores = masked(arrays.scores, arrays.used)
    # Without a reference the penalty is of the policy from itself: 0.
    ref = arrays.logps if arrays.ref_logps is None else arrays.ref_logps
    coef = control.kl_coef if algorithm.kl_in_reward else 0.0
    rewards = token_rewards(scores, arrays.logps, ref, mask, kl_coef=coef)
    # Before credit: both GAE and the critic's targets are in the scaled unit.
    if algorithm.rescale:
        rewards = masked_rescale(rewards, mask)
    sampled = Sampled(mask, rewards, control.baseline, arrays.values, arrays.greedy)
    credit = algorithm.credit(sampled)
    columns = {"old_logps": arrays.logps, "advantages": credit.advantages}
    # Columns that nobody reads would be copied to the devices with every batch.
    if arrays.ref_logps is not None:
        columns["ref_logps"] = ref
    if arrays.values is not None and credit.returns is not None:
        columns |= {"values": arrays.values, "returns": credit.returns}
    if algorithm.weights is not None:
        columns["weights"] = algorithm.weights(arrays.logps, arrays.sampler_logps, mask)
    metrics = _metrics(arrays, mask, rewards, credit)
    # The coefficient that this iteration used, not the next one's.
    metrics["objective/kl_coef"] = _once(control.kl_coef)
    new = _next(algorithm, control, arrays, sampled, metrics)
    if arrays.ref_logps is None:
        # From itself the policy is 0 away: in a log that would be a policy that stays.
        metrics = {k: x for k, x in metrics.items() if k not in ("kl", "objective/kl")}
    return columns, new, metrics


def _next(
    algorithm: Algorithm, control: Control, arrays: RolloutArrays, sampled, metrics
) -> Control:
    """The state for the next iteration, from what this one measured."""
    rewards = Mean.of(arrays.add_centre(sampled.rewards), where=sampled.valid)
    # As many as were asked for: a horizon in completions must not depend on rewards.
    kl, completions = metrics["objective/kl"], arrays.used.size
    new = algorithm.kl_controller(control.kl_coef, kl.value, completions)
    return Control(
        # A batch of which nothing is used has measured no KL.
        jnp.where(kl.weight > 0, new, control.kl_coef),
        moving_baseline(control.baseline, rewards, decay=BASELINE_DECAY),
        jnp.where(arrays.silent, control.silent + 1, 0),
    )


def _metrics(arrays: RolloutArrays, mask, rewards, credit) -> dict[str, Mean]:
    used = jnp.any(mask, axis=-1)
    scores = masked(arrays.scores, used)
    # With KL in the reward they differ from the scores, by what is logged below.
    totals = jnp.sum(masked(rewards, mask), axis=-1)
    # Estimates of the policy's entropy and KL are means over what it wrote itself.
    own = mask if arrays.own is None else mask & arrays.own[..., None]
    ref = arrays.logps if arrays.ref_logps is None else arrays.ref_logps
    metrics = {
        **completion_metrics(arrays.tokens, arrays.stopped, used),
        **sampler_metrics(arrays.logps, arrays.sampler_logps, own),
        **kl_metrics(arrays.logps, ref, own),
        "advantage/abs_mean": Mean.of(jnp.abs(credit.advantages), where=mask),
        "objective/entropy": Mean.of(
            -jnp.sum(masked(arrays.logps, own), axis=-1), where=jnp.any(own, axis=-1)
        ),
        "objective/scores": Mean.of(arrays.add_centre(scores), where=used),
        "objective/rlhf_reward": Mean.of(arrays.add_centre(totals), where=used),
        "objective/non_score_reward": Mean.of(totals - scores, where=used),
        "val/num_eos_tokens": _once(jnp.sum(arrays.stopped & used)),
        "num_tokens": Mean(jnp.sum(mask, dtype=jnp.float32), jnp.ones(())),
    }
    if arrays.values is not None and credit.returns is not None:
        metrics |= explained_variance(arrays.values, credit.returns, mask)
    return metrics


def _once(x) -> Mean:
    return Mean(x.astype(jnp.float32), jnp.ones(()))
