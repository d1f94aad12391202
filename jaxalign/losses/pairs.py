"""The skeleton of the preference losses: checks, sums per response, metrics."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair, as_pair
from jaxalign.ops import Mean, check_arrays, masked, sequence_logps


class Responses(NamedTuple):
    """What a loss reads of each response.

    Attributes:
      logps: lp(y), the log-probability of the whole response, `[...]`.
      log_ratios: h(y) = lp(y) − lp_ref(y); lp(y) itself without a reference, `[...]`.
      mask: Its tokens, `[..., T]` bool.
    """

    logps: jax.Array
    log_ratios: jax.Array
    mask: jax.Array

    @property
    def valid(self) -> jax.Array:
        """Whether it has a token at all, `[...]` bool."""
        return jnp.any(self.mask, axis=-1)

    @property
    def lengths(self) -> jax.Array:
        """|y|, its number of tokens, but 1 for an empty one, `[...]` float."""
        return jnp.maximum(jnp.sum(self.mask, axis=-1, dtype=self.logps.dtype), 1.0)

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
    check_arrays(
        policy=(policy, "float[+, T]"),
        ref=(ref, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    return _summed(policy, mask, ref)


def _summed(policy: jax.Array, mask: jax.Array, ref: jax.Array | None) -> Responses:
    logps = log_ratios = sequence_logps(policy, mask)
    if ref is not None:
        ref = jax.lax.stop_gradient(ref)
        # Subtracted by token: sums of hundreds of nats would lose their low digits.
        log_ratios = sequence_logps(masked(policy, mask) - masked(ref, mask), mask)
    return Responses(logps, log_ratios, mask)


def sum_pairs(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    ref: Pair[jax.Array] | None = None,
) -> Pairs:
    """Checks pairs of token arrays and sums them over each response."""
    check_pairs(policy=policy, ref=ref, mask=mask)
    refs = (None, None) if ref is None else ref
    return Pairs(*map(_summed, policy, mask, refs))


def check_pairs(*, mask: Pair[jax.Array], **floats: Pair[jax.Array] | None) -> None:
    """Refuses what is not a pair of token arrays `[..., T]`; sides may differ in T.

    Args:
      mask: Of both sides, bool.
      **floats: By name, numbers of each token of both sides; None is left out.
    """
    wanted = {}
    for name, pair in {**floats, "mask": mask}.items():
        if pair is None:
            continue
        kind = "bool" if name == "mask" else "float"
        chosen, rejected = as_pair(name, pair)
        wanted[f"{name}.chosen"] = chosen, f"{kind}[+, T]"
        wanted[f"{name}.rejected"] = rejected, f"{kind}[+, T']"
    check_arrays(**wanted)


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


def constant(name: str, x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of each response, `[...]` float, and stops its gradient."""
    return jax.lax.stop_gradient(per_response(name, x, responses))


def constants(name: str, x: Pair[jax.Array], pairs: Pairs) -> Pair[jax.Array]:
    """`constant` of both sides."""
    chosen, rejected = as_pair(name, x)
    return Pair(
        constant(f"{name}.chosen", chosen, pairs.chosen),
        constant(f"{name}.rejected", rejected, pairs.rejected),
    )


def per_response(name: str, x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of each response, `[...]` float."""
    _check_each(name, x, "float", responses)
    return jnp.asarray(x).astype(responses.logps.dtype)


def check_labels(name: str, x: jax.Array, responses: Responses) -> None:
    """Refuses what is not a label of each response, `[...]` bool."""
    _check_each(name, x, "bool", responses)


def scalar(name: str, x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of the whole batch, and stops its gradient."""
    check_arrays(**{name: (x, "float[]")})
    return jax.lax.stop_gradient(jnp.asarray(x, responses.logps.dtype))


def _check_each(name: str, x: jax.Array, kind: str, responses: Responses) -> None:
    check_arrays(
        **{name: (x, f"{kind}[...]"), "mask": (responses.mask, "bool[..., T]")}
    )
