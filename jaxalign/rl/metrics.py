"""What is logged of sampled completions, as pure functions of arrays `[G, K, ...]`."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxalign.ops import Mean, Moments, kl_k3, masked
from jaxalign.ops.advantages import sample_std


def completion_metrics(
    mask: jax.Array, stopped: jax.Array, used: jax.Array
) -> dict[str, Mean]:
    """Lengths of completions, and how many were cut off.

    Args:
      mask: `[G, K, N]` bool, the tokens of each completion.
      stopped: `[G, K]` bool, whether a stop token ended it.
      used: `[G, K]` bool, which completions to count.

    Returns:
      `completions/{mean,min,max}_length`, the same of `terminated_length` for those
      that a stop token ended, and `completions/clipped_ratio`.
    """
    lengths = jnp.sum(mask, axis=-1).astype(jnp.float32)
    ended = used & stopped
    return {
        **_spread("completions/{}_length", lengths, used),
        **_spread("completions/{}_terminated_length", lengths, ended),
        "completions/clipped_ratio": Mean.of(~stopped, where=used),
    }


def sampler_metrics(
    logps: jax.Array, sampler_logps: jax.Array, mask: jax.Array
) -> dict[str, Mean]:
    """How far the trainer's log-probs are from the sampler's.

    Args:
      logps: `[G, K, N]`, of the trainer before the first update.
      sampler_logps: `[G, K, N]`, of the sampler.
      mask: `[G, K, N]` bool.

    Returns:
      `sampling/sampling_logp_difference/{mean,max}` of the absolute difference, and
      `sampling/importance_sampling_ratio/{min,mean,max}`.
    """
    gap = masked(logps, mask) - masked(sampler_logps, mask)
    # e^20 is finite in float32; a mean with an infinity would say nothing.
    ratio = jnp.exp(jnp.clip(gap, -20, 20))
    difference = _spread(
        "sampling/sampling_logp_difference/{}", jnp.abs(gap), mask, ("mean", "max")
    )
    return difference | _spread("sampling/importance_sampling_ratio/{}", ratio, mask)


def group_metrics(rewards: jax.Array, used: jax.Array) -> dict[str, Mean]:
    """Rewards, and how many groups teach nothing.

    Args:
      rewards: `[G, K]`.
      used: `[G, K]` bool, which of them apply.

    Returns:
      `reward`, its standard deviation within groups `reward_std` (n − 1), and the share
      of groups whose rewards are all equal, `frac_reward_zero_std`.
    """
    rewards = masked(rewards, used)
    count = jnp.sum(used, axis=-1, dtype=rewards.dtype)
    mean = jnp.sum(rewards, axis=-1) / jnp.maximum(count, 1)
    # Masked again: the mean was taken off the places without a reward, too.
    centered = masked(rewards - mean[..., None], used)
    std = sample_std(centered, count[..., None])[..., 0]
    highest = jnp.max(jnp.where(used, rewards, -jnp.inf), axis=-1)
    lowest = jnp.min(jnp.where(used, rewards, jnp.inf), axis=-1)
    return {
        "reward": Mean.of(rewards, where=used),
        "reward_std": Mean.of(std, where=count > 0),
        "frac_reward_zero_std": Mean.of(highest == lowest, where=count > 0),
    }


def kl_metrics(
    logps: jax.Array, ref_logps: jax.Array, mask: jax.Array
) -> dict[str, Mean]:
    """Divergence of the sampled tokens' policy from the reference.

    Args:
      logps: `[G, K, N]`.
      ref_logps: `[G, K, N]`.
      mask: `[G, K, N]` bool.

    Returns:
      `kl`, the mean of k3 over tokens, and `objective/kl`, the mean over completions of
      the summed log-ratio (nats per completion).
    """
    # Masked first: -inf less -inf on padding would be NaN.
    log_ratio = masked(logps, mask) - masked(ref_logps, mask)
    used = jnp.any(mask, axis=-1)
    return {
        "kl": Mean.of(kl_k3(logps, ref_logps, mask), where=mask),
        "objective/kl": Mean.of(jnp.sum(log_ratio, axis=-1), where=used),
    }


def explained_variance(
    values: jax.Array, returns: jax.Array, mask: jax.Array
) -> dict[str, Mean]:
    """How much of the returns a critic foresaw: 1 − Var(return − value) / Var(return).

    Args:
      values: `[..., T]`, before the update.
      returns: `[..., T]`.
      mask: `[..., T]` bool.

    Returns:
      `val/explained_variance`; 0 where returns do not vary, but by rounding.
    """
    values, returns = masked(values, mask), masked(returns, mask)

    whole, rest = (
        Moments.of(x, where=mask).variance for x in (returns, returns - values)
    )
    rounding = 8 * jnp.finfo(returns.dtype).eps * jnp.max(jnp.abs(returns))
    varies = whole > jnp.square(rounding)
    value = jnp.where(varies, 1 - rest / jnp.where(varies, whole, 1), 0.0)
    return {"val/explained_variance": Mean(value, jnp.ones_like(value))}


def with_update(
    sums: Mapping[str, Mean] | None, update: Mapping[str, Mean]
) -> dict[str, Mean]:
    """The metrics of an iteration's updates so far, and those of one more.

    Args:
      sums: What this gave for the updates before; None for the first.
      update: Of the update, as the training step gives them.

    Returns:
      The sums and, of losses that clip, the smallest `clip_ratio/low_mean` of an update
      as `clip_ratio/low_min` and the largest `clip_ratio/high_mean` as
      `clip_ratio/high_max`.
    """
    added = {k: x if sums is None else sums[k] + x for k, x in update.items()}
    for of, name, extreme in _CLIP_EXTREMES:
        if of in update:
            # Extremes of whole updates: values, which are not added up.
            share = update[of].value
            if sums is not None:
                share = extreme(share, sums[name].total)
            added[name] = Mean(share, jnp.ones_like(share))
    return added


_CLIP_EXTREMES = (
    ("clip_ratio/low_mean", "clip_ratio/low_min", jnp.minimum),
    ("clip_ratio/high_mean", "clip_ratio/high_max", jnp.maximum),
)


def _spread(name: str, x, mask, which=("min", "mean", "max")) -> dict[str, Mean]:
    """Mean, smallest and largest; the latter two count once, 0 if there is none."""
    some = jnp.any(mask)
    # Weight 1, so that means over several iterations are means of extremes.
    once = some.astype(x.dtype)
    ends = {
        "min": jnp.min(jnp.where(mask, x, jnp.inf)),
        "max": jnp.max(jnp.where(mask, x, -jnp.inf)),
    }
    found = {k: Mean(jnp.where(some, v, 0.0), once) for k, v in ends.items()}
    found["mean"] = Mean.of(x, where=mask)
    return {name.format(k): found[k] for k in which}
