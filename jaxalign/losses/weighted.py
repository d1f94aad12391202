"""DPO with weights or a β that the batch decides."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import check_pairs, scalar, sum_pairs
from jaxalign.ops import capped_exp, check_arrays, sum_dtype
from jaxalign.ops.checks import check_not_negative, check_positive, check_range


def wpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    log_sum_squares: Pair[jax.Array],
    *,
    beta: float = 0.1,
    max_weight: float | None = 1.0,
) -> LossOutput:
    """WPO: pairs weighted by how likely the policy is to write them.

        −sg(w_w w_l) log σ(β D),  w = exp((1/|y|) Σ_t [log π(y_t) − log Σ_v π(v|s_t)²])

    Zhou et al., https://arxiv.org/abs/2406.11827, Eq. 2: off-policy pairs made to look
    on-policy. w is 1 for a uniform policy; the product is capped. The mean is over the
    plain number of pairs.

    In TRL: `use_weighting`, which is `max_weight=None`.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      log_sum_squares: log Σ_v π(v|s_t)² of the distribution at each token, each
        `[..., T]`, float; no gradient.
      beta: Strength of the pull towards the reference, > 0.
      max_weight: Cap of the weight of a pair, > 0; None for none.

    Returns:
      The mean over pairs, the metrics of `dpo_loss`, and `pair_weight`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(wpo_loss(lp, lp, mask, lp).loss.value)  # uniform policy: log 2
    0.6931472
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    weights = wpo_weights(policy, mask, log_sum_squares, max_weight=max_weight)
    losses = weights * pairwise_logistic(beta * pairs.margins)
    return pair_output(losses, pairs, pairs.rewards(beta), pair_weight=weights)


def wpo_weights(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    log_sum_squares: Pair[jax.Array],
    *,
    max_weight: float | jax.Array | None = 1.0,
) -> jax.Array:
    """How likely the policy is to write a pair: a factor for any preference loss.

        w_w w_l,  w = exp((1/|y|) Σ_t [log π(y_t) − log Σ_v π(v|s_t)²])

    Eq. 2 of https://arxiv.org/abs/2406.11827; 1 for a uniform policy.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      log_sum_squares: log Σ_v π(v|s_t)² of the distribution at each token, each
        `[..., T]`, float.
      max_weight: Cap of the weight of a pair, > 0; None for none.

    Returns:
      `[...]`, without a gradient.

    >>> lp, mask = jnp.full((1, 2), -1.0), jnp.ones((1, 2), bool)
    >>> print(wpo_weights(Pair(lp, lp), Pair(mask, mask), Pair(lp + 1, lp)))
    [0.36787945]
    """
    check_positive("max_weight", max_weight, infinite=True)
    check_pairs(policy=policy, log_sum_squares=log_sum_squares, mask=mask)
    likely = sum_pairs(policy, mask, log_sum_squares)
    log_weight = likely.chosen.mean_log_ratios + likely.rejected.mean_log_ratios
    if max_weight is not None:
        log_weight = jnp.minimum(log_weight, jnp.log(max_weight))
    return jax.lax.stop_gradient(capped_exp(log_weight))


def beta_dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    mean_margin: jax.Array,
    usual_margin: jax.Array,
    *,
    beta: float = 0.1,
    alpha: float = 0.6,
    min_beta: float = 1e-3,
) -> LossOutput:
    """β-DPO: a batch with larger margins than usual is held back more.

        −log σ(β' D),  β' = max(β_min, [1 + α (M − M₀)] β)

    Wu et al., https://arxiv.org/abs/2407.08639. M is the mean of β D over the
    global batch and M₀ its moving average, `ops.moving_baseline`; both come from the
    caller, so that this loss may be split. `jaxalign.objectives.bind` keeps M₀ in
    the training state: it begins at 0, decays by 0.9 and takes in a batch before the
    loss reads it, as in the authors' code, whose M is the mean of D without β. Pairs
    that `beta_dpo_keep` filters out are masked by the caller; that objective keeps all.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      mean_margin: M, a scalar, float; no gradient.
      usual_margin: M₀, a scalar, float; no gradient.
      beta: Strength of the pull towards the reference in a usual batch, > 0.
      alpha: Strength of the adaptation, ≥ 0; 0 is DPO.
      min_beta: Least β', > 0.

    Returns:
      The mean over pairs, the metrics of `dpo_loss` with β h(y) for a reward, and
      `beta`, which is β'.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(beta_dpo_loss(lp, lp, mask, jnp.array(0.2), jnp.array(0.1)).loss.value)
    0.6931472
    """
    check_positive("beta", beta)
    check_not_negative("alpha", alpha)
    check_positive("min_beta", min_beta)
    pairs = sum_pairs(policy, mask, ref)
    surplus = scalar("mean_margin", mean_margin, pairs.chosen)
    surplus -= scalar("usual_margin", usual_margin, pairs.chosen)
    adapted = jnp.maximum((1 + alpha * surplus) * beta, min_beta)
    losses = pairwise_logistic(adapted * pairs.margins)
    shown = jnp.broadcast_to(adapted, losses.shape)
    return pair_output(losses, pairs, pairs.rewards(beta), beta=shown)


def beta_dpo_keep(
    key: jax.Array,
    margins: jax.Array,
    valid: jax.Array,
    usual_margin: jax.Array,
    usual_deviation: jax.Array,
    *,
    fraction: float = 0.8,
) -> jax.Array:
    """Draws the pairs of a batch that β-DPO trains on: rather those of usual margins.

    Without replacement, with a probability proportional to the normal density of the
    margin, as in https://arxiv.org/abs/2407.08639: the pairs of largest
    log-density plus Gumbel noise. It reads the whole batch at once.

    Args:
      key: Consumed.
      margins: β D of each pair, `[N]`, float.
      valid: Which of them are pairs, `[N]`, bool.
      usual_margin: Moving average of the margins, a scalar.
      usual_deviation: Moving standard deviation of the margins, a scalar > 0.
      fraction: Share of the valid pairs to keep, in (0, 1].

    Returns:
      Which pairs to keep, `[N]`, bool.

    >>> margins, valid = jnp.array([0.0, 9.0, 0.1, 0.0]), jnp.ones(4, bool)
    >>> print(beta_dpo_keep(jax.random.key(0), margins, valid, 0.0, 0.1, fraction=0.75))
    [ True False  True  True]
    """
    check_range("fraction", fraction, 0, 1, open_low=True, closed_high=True)
    check_arrays(margins=(margins, "float[N]"), valid=(valid, "bool[N]"))
    density = -jnp.square((margins - usual_margin) / usual_deviation) / 2
    noise = jax.random.gumbel(key, margins.shape, margins.dtype)
    score = jnp.where(valid, density + noise, -jnp.inf)
    rank = jnp.argsort(jnp.argsort(-score))
    dtype = sum_dtype(margins)
    # A rounded product of 15.000001 is 15 and not 16.
    exact = 1 - 2 * jnp.finfo(dtype).eps
    wanted = jnp.ceil(exact * fraction * jnp.sum(valid, dtype=dtype))
    return valid & (rank.astype(dtype) < wanted)
