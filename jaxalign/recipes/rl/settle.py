"""From scores and log-probs to advantages: one compiled function per run."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses import truncated_importance_weights
from jaxalign.objectives import Assign, Sampled
from jaxalign.objectives.rollout_metrics import (
    completion_metrics,
    explained_variance,
    kl_metrics,
    sampler_metrics,
)
from jaxalign.ops import Mean, masked, masked_rescale, moving_baseline
from jaxalign.recipes.rl.centring import Around
from jaxalign.recipes.rl.state import Control
from jaxalign.rewards import token_rewards

BASELINE_DECAY = 0.9
LARGEST = 1e18
"""Of a reward whose square must fit into float32."""
LARGEST_SCALED = 1e30
"""Of a reward that is divided by the deviation of its group, by `sample_std`."""


class Known(NamedTuple):
    """All that is known of an iteration's answers, as host arrays `[G, K, ...]`.

    Attributes:
      tokens: `[G, K, N]` bool, the tokens of every answer.
      used: `[G, K]` bool, the answers to learn from.
      stopped: `[G, K]` bool.
      scores: `[G, K]`, less `centre`; 0 where no reward applies.
      sampler_logps: `[G, K, N]`.
      logps: `[G, K, N]`, of the trainer before the first update.
      silent: Scalar bool, whether no rewards differed that are compared.
      ref_logps: `[G, K, N]`, or None.
      values: `[G, K, N]`, or None.
      greedy: `[G]`, or None.
      own: `[G, K]` bool, the answers that the policy wrote; None for all.
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


class Rules(NamedTuple):
    """What a run does with scores.

    Attributes:
      assign: Rewards to advantages.
      kl_in_reward: Whether each token pays for its distance from the reference.
      update_kl: The next KL coefficient, from this one and the measured KL.
      weights: From trainer's and sampler's log-probs and mask to factors, or None.
      rescale: Whether rewards are divided by their standard deviation first.
      around: What only the difference from matters; see `centring`.
      largest: Of a reward, so that what is computed of it fits into float32.
    """

    assign: Assign
    kl_in_reward: bool
    update_kl: Callable[[jax.Array, jax.Array], jax.Array]
    weights: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None
    rescale: bool = False
    around: Around = None
    largest: float = LARGEST


def truncated_weights(cap: float | None):
    """`Rules.weights` of an importance correction cut off at `cap`, or None."""
    if cap is None:
        return None
    return functools.partial(truncated_importance_weights, cap=cap)


def make_settle(rules: Rules):
    """Builds `(Known, Control) -> (columns [G, K, N] by name, Control, metrics)`."""

    def settle(known: Known, control: Control):
        mask = known.tokens & known.used[..., None]
        scores = masked(known.scores, known.used)
        ref = known.logps if known.ref_logps is None else known.ref_logps
        coef = control.kl_coef if rules.kl_in_reward else 0.0
        rewards = token_rewards(scores, known.logps, ref, mask, kl_coef=coef)
        if rules.rescale:
            rewards = masked_rescale(rewards, mask)
        sampled = Sampled(mask, rewards, control.baseline, known.values, known.greedy)
        credit = rules.assign(sampled)
        columns = {"old_logps": known.logps, "advantages": credit.advantages}
        if known.ref_logps is not None:
            columns["ref_logps"] = ref
        if known.values is not None:
            columns |= {"values": known.values, "returns": credit.returns}
        if rules.weights is not None:
            columns["weights"] = rules.weights(known.logps, known.sampler_logps, mask)
        metrics = _metrics(known, mask, rewards, credit)
        metrics["objective/kl_coef"] = _once(control.kl_coef)
        return columns, _next(rules, control, known, sampled, metrics), metrics

    return jax.jit(settle)


def _next(rules: Rules, control: Control, known: Known, sampled, metrics) -> Control:
    """The state for the next iteration, from what this one measured."""
    rewards = Mean.of(known.add_centre(sampled.rewards), where=sampled.valid)
    kl = metrics["objective/kl"]
    coef = jnp.where(
        kl.weight > 0, rules.update_kl(control.kl_coef, kl.value), control.kl_coef
    )
    return Control(
        coef,
        moving_baseline(control.baseline, rewards, decay=BASELINE_DECAY),
        jnp.where(known.silent, control.silent + 1, 0),
    )


def _metrics(known: Known, mask, rewards, credit) -> dict[str, Mean]:
    used = jnp.any(mask, axis=-1)
    scores = masked(known.scores, used)
    totals = jnp.sum(masked(rewards, mask), axis=-1)
    # Estimates of the policy's entropy and KL are means over what it wrote itself.
    own = mask if known.own is None else mask & known.own[..., None]
    ref = known.logps if known.ref_logps is None else known.ref_logps
    metrics = {
        **completion_metrics(known.tokens, known.stopped, used),
        **sampler_metrics(known.logps, known.sampler_logps, own),
        **kl_metrics(known.logps, ref, own),
        "advantage/abs_mean": Mean.of(jnp.abs(credit.advantages), where=mask),
        "objective/entropy": Mean.of(
            -jnp.sum(masked(known.logps, own), axis=-1), where=jnp.any(own, axis=-1)
        ),
        "objective/scores": Mean.of(known.add_centre(scores), where=used),
        "objective/rlhf_reward": Mean.of(known.add_centre(totals), where=used),
        "objective/non_score_reward": Mean.of(totals - scores, where=used),
        "val/num_eos_tokens": _once(jnp.sum(known.stopped & used)),
        "num_tokens": Mean(jnp.sum(mask, dtype=jnp.float32), jnp.ones(())),
    }
    if known.values is not None and credit.returns is not None:
        metrics |= explained_variance(known.values, credit.returns, mask)
    return metrics


def _once(x) -> Mean:
    return Mean(x.astype(jnp.float32), jnp.ones(()))
