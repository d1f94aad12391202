"""Means with their intervals, from what was scored."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.ops import (
    best_of_n_kl_bound,
    bootstrap_interval,
    bootstrap_statistic,
    expected_best_of_n,
)
from jaxalign.rewards import Completion
from jaxalign.rewards.abstention import Outcome


class Measure(NamedTuple):
    """A number and its 95 % bootstrap interval over rows.

    Attributes:
      value: Over all rows.
      low: Lower end.
      high: Upper end.
      rows: How many rows it is about.
    """

    value: float
    low: float
    high: float
    rows: int


class Estimator(NamedTuple):
    """Makes measures of one evaluation; each name has its own random draws."""

    seed: int

    def mean(
        self, name: str, totals: Sequence[float], weights: Sequence[float] | None = None
    ) -> Measure:
        """Σ totals / Σ weights over rows; rows of weight 0 are left out.

        Args:
          name: Of the measure, for its random draws.
          totals: What each row adds.
          weights: How much it counts; 1 by default.

        Returns:
          NaN where no row counts.
        """
        ones = np.ones(len(totals)) if weights is None else np.asarray(weights, float)
        kept = ones > 0
        total, weight = np.asarray(totals, float)[kept], ones[kept]
        if not kept.any():
            return Measure(np.nan, np.nan, np.nan, 0)
        # Draws by name, so that a measure stays when others come or go.
        low, high = bootstrap_interval(
            jnp.asarray(total, jnp.float32),
            jnp.asarray(weight, jnp.float32),
            self._key(name),
        )
        value = total.sum() / weight.sum()
        return Measure(float(value), float(low), float(high), int(kept.sum()))

    def group_mean(self, name: str, values: np.ndarray) -> Measure:
        """The mean of the `[rows, samples]` that are there; a row's stay together."""
        there = ~np.isnan(values)
        return self.mean(name, np.nansum(values, axis=1), there.sum(axis=1))  # pyright: ignore

    def statistic(
        self, name: str, function: Callable[..., jax.Array], *arrays: jax.Array
    ) -> Measure:
        """What is no ratio of sums, of arrays whose first axis are the rows."""
        low, high = bootstrap_statistic(function, *arrays, key=self._key(name))
        value = function(*arrays)
        return Measure(float(value), float(low), float(high), len(arrays[0]))

    def _key(self, name: str) -> jax.Array:
        key = jax.random.key(self.seed)
        # Not `hash`, which Python salts anew in each process.
        return jax.random.fold_in(key, zlib.crc32(name.encode()))


def likelihood(
    estimator: Estimator, logps: Sequence[Sequence[np.ndarray]]
) -> dict[str, Measure]:
    """Loss per token and perplexity of each example's first sequence."""
    # Thousands of tokens add up to more digits than float32 has.
    totals = [-float(x[0].sum(dtype=np.float64)) for x in logps]
    nll = estimator.mean("loss", totals, [len(x[0]) for x in logps])
    # exp keeps the order, so it takes the ends of the interval along.
    value, low, high = (float(np.exp(x)) for x in nll[:3])
    return {"loss": nll, "perplexity": Measure(value, low, high, nll.rows)}


def preference(
    estimator: Estimator,
    logps: Sequence[Sequence[np.ndarray]],
    ref: Sequence[Sequence[np.ndarray]] | None,
    beta: float,
) -> dict[str, Measure]:
    """How often the better completion is preferred, and by how much.

    With a reference by the implicit reward β (log π − log π_ref), else by log π.
    """
    sums = np.array([[x.sum(dtype=np.float64) for x in pair] for pair in logps])
    prefix = "logps"
    if ref is not None:
        base = np.array([[x.sum(dtype=np.float64) for x in pair] for pair in ref])
        sums, prefix = beta * (sums - base), "rewards"
    return pairs(estimator, prefix, sums)


def pairs(estimator: Estimator, prefix: str, values: np.ndarray) -> dict[str, Measure]:
    """How often the better completion has more, by how much, and what each has.

    Args:
      estimator: For the intervals.
      prefix: Of the measures' names.
      values: `[rows, 2]`, of the chosen and of the rejected completion.
    """
    chosen, rejected = values.T
    margins = chosen - rejected
    # A tie is half right, so that a model that cannot tell has 0.5.
    right = (margins > 0) + 0.5 * (margins == 0)
    found = {"accuracies": right, "margins": margins}
    found |= {"chosen": chosen, "rejected": rejected}
    return {
        f"{prefix}/{name}": estimator.mean(f"{prefix}/{name}", x.tolist())
        for name, x in found.items()
    }


def win_rate(estimator: Estimator, name: str, ours: np.ndarray, theirs: np.ndarray):
    """How often a completion of ours beats one of theirs; half for ties.

    Args:
      estimator: For the interval.
      name: Of the measure.
      ours: `[rows, samples]`, NaN where nothing is known.
      theirs: The same shape.
    """
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    # A comparison with NaN is False, and would count as lost.
    known = ~np.isnan(ours) & ~np.isnan(theirs)
    return estimator.group_mean(name, np.where(known, wins, np.nan))


def divergence(
    estimator: Estimator, logps, ref_logps, num_samples: int
) -> dict[str, Measure]:
    """KL to a reference on sampled completions: Σ log π − log π_ref, without bias."""
    sums = np.array(
        [
            float((x[0].astype(np.float64) - y[0]).sum())
            for x, y in zip(logps, ref_logps, strict=True)
        ]
    )
    return {"kl": estimator.group_mean("kl", sums.reshape(-1, num_samples))}


def best_of(rewards: np.ndarray) -> dict[int, dict[str, float]]:
    """What the best of n samples is worth, for n = 1, 2, 4, ... up to the samples.

    Args:
      rewards: `[rows, samples]`, NaN where no reward applies.

    Returns:
      `{n: {"reward": mean over rows with n samples, "kl_bound": nats}}`.
    """
    there = ~np.isnan(rewards)
    array, mask = jnp.asarray(np.nan_to_num(rewards), jnp.float32), jnp.asarray(there)
    sizes = [1 << i for i in range(rewards.shape[1].bit_length())]
    # The number of samples itself may be no power of two.
    sizes = sorted({min(n, rewards.shape[1]) for n in sizes})
    found = {}
    for n in sizes:
        rows = np.asarray(expected_best_of_n(array, mask, n=n))
        if not np.isnan(rows).all():
            bound = float(best_of_n_kl_bound(jnp.float32(n)))
            found[n] = {"reward": float(np.nanmean(rows)), "kl_bound": bound}
    return found


def abstention_table(
    outcomes: Sequence[Outcome], completions: Sequence[Completion], known: str | None
) -> dict[str, dict[str, float]]:
    """Shares of correct, abstain and wrong: of all, and of known and unknown questions.

    Args:
      outcomes: Of each completion.
      completions: With the column.
      known: Column that says whether the answer can be known, true or false.

    Returns:
      `{"all": {"correct": share, ..., "completions": count}, "known": ...}`.
    """
    groups: Mapping[str, list[int]] = {"all": list(range(len(outcomes)))}
    if known is not None:
        flags = [bool(c.columns[known]) for c in completions]
        groups["known"] = [i for i, x in enumerate(flags) if x]
        groups["unknown"] = [i for i, x in enumerate(flags) if not x]
    table = {}
    for group, members in groups.items():
        shares = {
            # A group may be empty, and then has shares of 0.
            outcome: sum(outcomes[i] == outcome for i in members) / max(len(members), 1)
            for outcome in ("correct", "abstain", "wrong")
        }
        table[group] = {**shares, "completions": float(len(members))}
    return table
