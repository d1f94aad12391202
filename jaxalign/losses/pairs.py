"""The skeleton of the preference losses: checks, sums per response, metrics."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.ops import Mean, masked, sequence_logps


class Responses(NamedTuple):
    """What a loss reads of each response; all `[...]`.

    Attributes:
      logps: lp(y), the log-probability of the whole response.
      log_ratios: h(y) = lp(y) − lp_ref(y); lp(y) itself where there is no reference.
      lengths: Its number of tokens, but 1 for an empty one, float.
      valid: Whether it has a token at all, bool.
    """

    logps: jax.Array
    log_ratios: jax.Array
    lengths: jax.Array
    valid: jax.Array

    @property
    def mean_logps(self) -> jax.Array:
        """a(y) = lp(y) / |y|."""
        return self.logps / self.lengths


class Pairs(NamedTuple):
    """Both responses of each pair; a pair is valid if both of them are."""

    chosen: Responses
    rejected: Responses

    @property
    def valid(self) -> jax.Array:
        """Which pairs count, `[...]` bool."""
        return self.chosen.valid & self.rejected.valid

    @property
    def margins(self) -> jax.Array:
        """D = h(y_w) − h(y_l), `[...]`."""
        return self.chosen.log_ratios - self.rejected.log_ratios

    def rewards(self, beta) -> Pair[jax.Array]:
        """The implicit rewards β h(y), both `[...]`."""
        return Pair(beta * self.chosen.log_ratios, beta * self.rejected.log_ratios)


def sum_responses(
    policy: jax.Array, mask: jax.Array, ref: jax.Array | None = None
) -> Responses:
    """Checks token arrays `[..., T]` and sums them over each response."""
    chex.assert_equal_shape([policy, mask])
    chex.assert_type([policy, mask], [float, bool])
    logps = log_ratios = sequence_logps(policy, mask)
    if ref is not None:
        chex.assert_equal_shape([ref, mask])
        chex.assert_type(ref, float)
        ref = jax.lax.stop_gradient(ref)
        # Subtracted by token: sums of hundreds of nats would lose their low digits.
        log_ratios = sequence_logps(masked(policy, mask) - masked(ref, mask), mask)
    lengths = jnp.maximum(jnp.sum(mask, axis=-1, dtype=logps.dtype), 1.0)
    return Responses(logps, log_ratios, lengths, jnp.any(mask, axis=-1))


def sum_pairs(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    ref: Pair[jax.Array] | None = None,
) -> Pairs:
    """Checks pairs of token arrays and sums them over each response."""
    policy, mask = Pair(*policy), Pair(*mask)
    chex.assert_equal_shape_prefix(list(policy), policy.chosen.ndim - 1)
    refs = Pair(None, None) if ref is None else Pair(*ref)
    return Pairs(*map(sum_responses, policy, mask, refs))


def pair_metrics(
    pairs: Pairs, rewards: Pair[jax.Array], **metrics: jax.Array
) -> dict[str, Mean]:
    """The metrics of every pairwise loss, over valid pairs.

    Args:
      pairs: Where the losses come from.
      rewards: What the loss takes for the reward of each response, both `[...]`.
      **metrics: Further values of each pair, `[...]`.
    """
    margins = rewards.chosen - rewards.rejected
    per_pair = {
        "rewards/chosen": rewards.chosen,
        "rewards/rejected": rewards.rejected,
        "rewards/margins": margins,
        "rewards/accuracies": margins > 0,
        "logps/chosen": pairs.chosen.logps,
        "logps/rejected": pairs.rejected.logps,
        **metrics,
    }
    return {name: Mean.of(x, where=pairs.valid) for name, x in per_pair.items()}


def pair_output(
    losses: jax.Array, pairs: Pairs, rewards: Pair[jax.Array], **metrics: jax.Array
) -> LossOutput:
    """The mean of `losses` `[...]` over valid pairs, with `pair_metrics`."""
    loss = Mean.of(losses, where=pairs.valid)
    return LossOutput(loss, pair_metrics(pairs, rewards, **metrics))


def labelled_output(
    losses: jax.Array,
    responses: Responses,
    rewards: jax.Array,
    desirable: jax.Array,
    **metrics: Mean,
) -> LossOutput:
    """The mean over valid responses that have a label each in place of a rival.

    Args:
      losses: `[...]`, what each response costs.
      responses: Where the losses come from.
      rewards: The implicit reward of each, `[...]`.
      desirable: `[...]` bool; those are logged as chosen, the others as rejected.
      **metrics: Further means.
    """
    sides = {
        "chosen": responses.valid & desirable,
        "rejected": responses.valid & ~desirable,
    }
    values = {"rewards": rewards, "logps": responses.logps}
    means = {
        f"{name}/{side}": Mean.of(x, where=where)
        for name, x in values.items()
        for side, where in sides.items()
    }
    return LossOutput(Mean.of(losses, where=responses.valid), {**means, **metrics})


def constant(x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of each response, `[...]` float, and stops its gradient."""
    return jax.lax.stop_gradient(per_response(x, responses))


def per_response(x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of each response, `[...]` float."""
    chex.assert_equal_shape([x, responses.logps])
    chex.assert_type(x, float)
    return jnp.asarray(x).astype(responses.logps.dtype)
