"""Sums over responses: what preference losses read, checked and named."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses.base import Pair, as_pair
from jaxalign.ops import check_arrays, masked, sequence_logps


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
        """a(y) = lp(y) / |y|, `[...]`."""
        return self.logps / self.lengths

    @property
    def mean_log_ratios(self) -> jax.Array:
        """h(y) / |y|, `[...]`."""
        return self.log_ratios / self.lengths


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

    def rewards(self, beta: float | jax.Array) -> Pair[jax.Array]:
        """The implicit rewards β h(y) of the reverse KL, both `[...]`."""
        return self.each(lambda y: beta * y.log_ratios)

    def each(self, reward: Callable[[Responses], jax.Array]) -> Pair[jax.Array]:
        """`reward` of both sides: from `Responses` to `[...]`."""
        return Pair(reward(self.chosen), reward(self.rejected))


def sum_responses(
    policy: jax.Array, mask: jax.Array, ref: jax.Array | None = None
) -> Responses:
    """Sums token log-probabilities over each response.

    Args:
      policy: Under the policy, `[..., T]`, float.
      mask: True on response tokens, `[..., T]`, bool.
      ref: The same tokens under the reference, `[..., T]`, float, without a gradient;
        None for a loss that has none.

    Returns:
      `Responses` of `[...]` arrays.

    >>> lp, mask = jnp.array([[-1.0, -2.0]]), jnp.ones((1, 2), bool)
    >>> print(sum_responses(lp, mask, lp - 1).log_ratios)
    [2.]
    """
    check_arrays(
        policy=(policy, "float[+, T]"),
        ref=(ref, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    return _summed(policy, mask, ref, None)


def sum_pairs(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    ref: Pair[jax.Array] | None = None,
    *,
    token_weights: Pair[jax.Array] | None = None,
) -> Pairs:
    """Sums token log-probabilities over both responses of each pair.

    Args:
      policy: Under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      ref: The same tokens under the reference, each `[..., T]`, float, without a
        gradient; None for a loss that has none.
      token_weights: By how much each token's log-ratio counts, each `[..., T]`, float,
        as from `shared_length_weights`; None for 1.

    Returns:
      `Pairs` of `[...]` arrays.

    >>> lp, mask = jnp.array([[-1.0, -2.0]]), jnp.ones((1, 2), bool)
    >>> print(sum_pairs(Pair(lp, lp), Pair(mask, mask), Pair(lp - 1, lp)).margins)
    [2.]
    """
    check_pairs(policy=policy, ref=ref, token_weights=token_weights, mask=mask)
    none = (None, None)
    return Pairs(*map(_summed, policy, mask, ref or none, token_weights or none))


def _summed(policy, mask, ref, weights) -> Responses:
    logps = sequence_logps(policy, mask)
    if ref is None and weights is None:
        return Responses(logps, logps, mask)
    # Subtracted by token: sums of hundreds of nats would lose their low digits.
    ratios = masked(policy, mask)
    if ref is not None:
        ratios = ratios - masked(jax.lax.stop_gradient(ref), mask)
    if weights is not None:
        ratios = ratios * masked(jax.lax.stop_gradient(weights), mask)
    return Responses(logps, sequence_logps(ratios, mask), mask)


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


def per_response(name: str, x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of each response, `[...]` float."""
    check_arrays(**{name: (x, "float[...]"), "mask": (responses.mask, "bool[..., T]")})
    return jnp.asarray(x).astype(responses.logps.dtype)


def constant(name: str, x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of each response, `[...]` float, and stops its gradient.

    It is 0 for an empty response: what is said of one may be NaN, and a gradient of 0
    times that would be NaN too.
    """
    known = jax.lax.stop_gradient(per_response(name, x, responses))
    return masked(known, responses.valid)


def constants(name: str, x: Pair[jax.Array], pairs: Pairs) -> Pair[jax.Array]:
    """`constant` of both sides, 0 for both unless the pair is valid."""
    chosen, rejected = as_pair(name, x)
    both = (
        constant(f"{name}.chosen", chosen, pairs.chosen),
        constant(f"{name}.rejected", rejected, pairs.rejected),
    )
    return Pair(*(masked(x, pairs.valid) for x in both))


def scalar(name: str, x: jax.Array, responses: Responses) -> jax.Array:
    """Checks a number of the whole batch, and stops its gradient."""
    check_arrays(**{name: (x, "float[]")})
    return jax.lax.stop_gradient(jnp.asarray(x, responses.logps.dtype))


def check_labels(name: str, x: jax.Array, responses: Responses) -> None:
    """Refuses what is not a label of each response, `[...]` bool."""
    check_arrays(**{name: (x, "bool[...]"), "mask": (responses.mask, "bool[..., T]")})
