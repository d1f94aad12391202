"""Policy losses against NumPy, and what they must be where theory says it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.losses
from tests.losses import policy_oracles as oracle
from tests.losses.policy_cases import CASES, rollout_with_reference, rollout_with_values

losses: Any = jaxalign.losses

OPTIONS = {"clip": 0.1, "clip_high": 0.25}
BETA = {"beta": 0.3}


def rollout() -> Any:
    inputs = rollout_with_reference(np.random.default_rng(7), 6, 5)
    inputs[3][2] = False
    inputs[3][2, 1] = True
    return inputs


def value(name, inputs, **options):
    out = jax.jit(functools.partial(CASES[name].loss, **options))(*inputs)
    return float(out.loss.value), out


BY_TOKEN = {
    "ppo_policy": (oracle.clipped(0.1, 0.25), oracle.over_tokens, OPTIONS),
    "dual_clip": (
        oracle.dual(0.1, 0.25, 1.2),
        oracle.over_tokens,
        OPTIONS | {"dual_clip": 1.2},
    ),
    "grpo": (oracle.clipped(0.1, 0.25), oracle.over_sequences, OPTIONS | BETA),
    "dapo": (oracle.clipped(0.1, 0.25), oracle.over_tokens, OPTIONS | BETA),
    "dr_grpo": (
        oracle.clipped(0.1, 0.25),
        lambda rows: oracle.sums_of_sequences(rows) / 9,
        OPTIONS | BETA | {"max_length": 9},
    ),
    "cispo": (oracle.cispo(0.1, 0.25), oracle.over_tokens, OPTIONS | BETA),
    "sapo": (
        oracle.sapo(1.0, 1.3),
        oracle.over_sequences,
        BETA | {"negative_temperature": 1.3},
    ),
    "policy_gradient": (
        lambda ratio, advantage, logp: -advantage * logp,
        oracle.sums_of_sequences,
        {},
    ),
}


@pytest.mark.parametrize("name", BY_TOKEN)
def test_losses_of_tokens_match_numpy(name):
    loss, aggregate, options = BY_TOKEN[name]
    *arrays, ref = rollout()
    in_loss = "beta" in options
    inputs = (*arrays, ref) if in_loss else tuple(arrays)
    rows = oracle.per_token(loss, arrays, ref if in_loss else None, 0.3)
    got, _ = value(name, inputs, **options)
    np.testing.assert_allclose(got, aggregate(rows), rtol=2e-5)


BY_RESPONSE = {
    "gspo": (oracle.gspo(0.05, 0.1), {"clip": 0.05, "clip_high": 0.1}),
    "gmpo": (oracle.gmpo(0.1, 0.1), {"log_clip": 0.1}),
    "gmpo, more above": (
        oracle.gmpo(0.1, 0.2),
        {"log_clip": 0.1, "log_clip_high": 0.2},
    ),
}


@pytest.mark.parametrize("name", BY_RESPONSE)
def test_losses_of_responses_match_numpy(name):
    loss, options = BY_RESPONSE[name]
    inputs = rollout()
    got, _ = value(name.split(",")[0], inputs, **options, **BETA)
    np.testing.assert_allclose(got, oracle.by_response(loss, inputs, 0.3), rtol=2e-5)


def test_gspo_token_has_the_value_of_gspo_and_its_gradient_for_equal_advantages():
    logps, old, advantages, mask, weights, ref = rollout()
    advantages = np.broadcast_to(advantages[:, :1], advantages.shape)
    inputs = old, advantages, mask, np.ones_like(weights), ref

    def run(name):
        def loss(logps):
            options = {"clip": 0.05, "clip_high": 0.1}
            return CASES[name].loss(logps, *inputs, **options).loss.value

        return jax.jit(jax.value_and_grad(loss))(logps)

    (one, grad), (other, other_grad) = run("gspo"), run("gspo_token")
    np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_allclose(grad, other_grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dual_clip", [None, 1.2])
def test_ppo_adds_its_terms_token_by_token(dual_clip):
    new, old, adv, v, v_old, returns, mask, entropy = rollout_with_values(
        np.random.default_rng(3), 6, 5
    )
    total, value_errors, clipped_errors, bounded, stopped = [], [], 0, 0, 0
    for i, t in zip(*np.nonzero(mask), strict=True):
        near = oracle.clip(v[i, t], v_old[i, t] - 0.3, v_old[i, t] + 0.3)
        errors = (v[i, t] - returns[i, t]) ** 2, (near - returns[i, t]) ** 2
        value_errors.append(0.5 * max(errors))
        clipped_errors += errors[1] > errors[0]
        ratio = np.exp(np.float64(new[i, t]) - old[i, t])
        policy = oracle.surrogate(ratio, adv[i, t], 0.2, 0.2)
        stopped += ratio > 1.2 if adv[i, t] > 0 else ratio < 0.8
        if dual_clip and adv[i, t] < 0:
            bounded += policy > -dual_clip * adv[i, t]
            policy = min(policy, -dual_clip * adv[i, t])
        total.append(policy + 0.4 * value_errors[-1] - 0.05 * entropy[i, t])
    got, out = value(
        "ppo",
        (new, old, adv, v, v_old, returns, mask, entropy),
        value_clip=0.3,
        value_coef=0.4,
        entropy_coef=0.05,
        dual_clip=dual_clip,
    )
    np.testing.assert_allclose(got, np.mean(total), rtol=1e-5)
    assert bool(bounded) == bool(dual_clip)
    metrics = {name: float(mean.value) for name, mean in out.metrics.items()}
    np.testing.assert_allclose(
        metrics["loss/value_avg"], np.mean(value_errors), rtol=1e-5
    )
    np.testing.assert_allclose(
        metrics["val/clipfrac_avg"], clipped_errors / mask.sum(), rtol=1e-6
    )
    np.testing.assert_allclose(
        metrics["policy/clipfrac_avg"], (stopped + bounded) / mask.sum(), rtol=1e-6
    )
    np.testing.assert_allclose(
        metrics["policy/entropy_avg"], entropy[mask].mean(), rtol=1e-5
    )


PENALISED = [x for x in BY_TOKEN if x != "ppo"] + ["gspo", "gspo_token", "gmpo"]


@pytest.mark.parametrize("name", PENALISED)
def test_a_penalty_is_aggregated_as_the_loss_is_and_keeps_its_gradient(name):
    """So a KL estimate and an entropy bonus have the denominator of the loss."""
    *arrays, ref = rollout()
    kl_in_it = "policy" not in name and name != "dual_clip"
    inputs = (*arrays, ref) if kl_in_it else tuple(arrays)
    mask = arrays[3]
    costs = np.random.default_rng(5).normal(size=mask.shape).astype(np.float32)
    rows = [list(row[m].astype(float)) for row, m in zip(costs, mask, strict=True)]
    aggregate = BY_TOKEN[name][1] if name in BY_TOKEN else oracle.over_sequences
    options = {"max_length": 9} if name == "dr_grpo" else {}
    plain, _ = value(name, inputs, **options)

    def penalised(scale):
        penalty = jnp.where(mask, scale * costs, jnp.nan)
        out = CASES[name].loss(*inputs, **options, penalty=penalty)
        return out.loss.value, out.metrics["policy_loss"].value

    (got, policy), slope = jax.jit(jax.value_and_grad(penalised, has_aux=True))(2.0)
    np.testing.assert_allclose(got - plain, 2 * aggregate(rows), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(slope, aggregate(rows), rtol=1e-5)
    if not kl_in_it:
        np.testing.assert_allclose(policy, plain, rtol=1e-5)


def test_metrics_count_the_tokens_that_a_bound_stops():
    new, old, advantages, mask, weights, ref = rollout()
    low = high = 0
    squares, ratios, kls = [], [], []
    for i, t in zip(*np.nonzero(mask), strict=True):
        difference = np.float64(new[i, t]) - old[i, t]
        low += advantages[i, t] < 0 and np.exp(difference) < 0.9
        high += advantages[i, t] > 0 and np.exp(difference) > 1.25
        squares.append(difference**2 / 2)
        ratios.append(np.exp(difference))
        kls.append(oracle.k3(float(new[i, t]), float(ref[i, t])))
    _, out = value("dapo", rollout(), **OPTIONS, **BETA)
    expected = {
        "clip_ratio/low_mean": low / mask.sum(),
        "clip_ratio/high_mean": high / mask.sum(),
        "clip_ratio/region_mean": (low + high) / mask.sum(),
        "policy/approxkl_avg": np.mean(squares),
        "val/ratio": np.mean(ratios),
        "val/ratio_var": np.mean((np.array(ratios) - 1) ** 2),
        "kl": np.mean(kls),
        "advantage/abs_mean": np.abs(advantages[mask]).mean(),
        "policy/ratio_capped": 0.0,
    }
    for name, wanted in expected.items():
        np.testing.assert_allclose(
            out.metrics[name].value, wanted, rtol=2e-5, err_msg=name
        )
    assert low > 0
    assert high > 0


@pytest.mark.filterwarnings("ignore")
def test_the_clipped_surrogate_is_that_of_rlax():
    import rlax

    new, old, advantages, mask, *_ = rollout()
    mask = np.ones_like(mask)
    expected = np.mean(
        [
            rlax.clipped_surrogate_pg_loss(jnp.exp(n - o), jnp.asarray(a), 0.2)
            for n, o, a in zip(new, old, advantages, strict=True)
        ]
    )
    got = losses.ppo_policy_loss(new, old, advantages, mask).loss.value
    np.testing.assert_allclose(got, expected, rtol=1e-5)


FIRST_STEP = ["ppo_policy", "dual_clip", "dapo", "grpo", "cispo", "sapo", "gspo"]


@pytest.mark.parametrize("name", FIRST_STEP)
def test_the_first_step_is_the_policy_gradient(name):
    """Identity 10: at ratio 1 the gradient is −A ∇log π times the token's weight."""
    logps, _, advantages, mask, weights, ref = rollout()
    if name == "gspo":
        advantages = np.broadcast_to(advantages[:, :1], advantages.shape)
    lengths = mask.sum(-1, keepdims=True)
    share = (
        1 / (lengths * len(mask))
        if name in ("grpo", "sapo", "gspo")
        else 1 / mask.sum()
    )
    inputs = logps, advantages, mask, np.ones_like(weights)
    inputs = inputs if name in ("ppo_policy", "dual_clip") else (*inputs, ref)
    options = {} if len(inputs) == 4 else {"beta": 0.0}
    if name == "sapo":
        options["negative_temperature"] = 1.0

    def loss(new):
        return CASES[name].loss(new, *inputs, **options)

    grad = jax.jit(jax.grad(lambda new: loss(new).loss.value))(logps)
    np.testing.assert_allclose(grad, -advantages * share * mask, rtol=1e-5, atol=1e-8)
    metrics = jax.jit(loss)(logps).metrics
    assert float(metrics["val/ratio"].value) == 1
    assert not any(m.total for n, m in metrics.items() if "clip" in n)


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope"),
    [(1.5, 1.0, 0.0), (1.5, -1.0, 1.5), (0.5, 1.0, -0.5), (0.5, -1.0, 0.0)],
)
def test_a_clipped_token_has_no_gradient_on_the_side_its_advantage_says(
    ratio, advantage, slope
):
    grad = jax.grad(
        lambda x: losses.clipped_surrogate(x, jnp.float32(advantage), clip=0.2)
    )(jnp.log(jnp.float32(ratio)))
    np.testing.assert_allclose(grad, slope, rtol=1e-6)


def test_reinforce_on_given_samples_is_maximum_likelihood():
    """Identity 9: with r̂ = 1 loss and gradient are those of the summed NLL."""
    logps, mask = rollout()[0], rollout()[3]

    def loss(logps):
        return losses.reinforce_loss(logps, jnp.ones(len(mask)), mask).loss.value

    got, grad = jax.value_and_grad(loss)(logps)
    sums = [sum(float(x) for x in row[m]) for row, m in zip(logps, mask, strict=True)]
    np.testing.assert_allclose(got, -np.mean(sums), rtol=1e-6)
    np.testing.assert_allclose(grad, -1.0 * mask / len(mask), rtol=1e-6)


def test_reinforce_counts_each_response_once_by_its_reward():
    logps = jnp.array([[-1.0, -2.0], [-3.0, -9.0], [-1.0, -1.0]])
    mask = jnp.array([[True, True], [True, False], [False, False]])
    out = losses.reinforce_loss(logps, jnp.array([0.5, -2.0, jnp.nan]), mask)
    np.testing.assert_allclose(out.loss.value, (3 * 0.5 - 3 * 2.0) / 2)


def test_the_score_form_of_kl_has_the_gradient_h_times_score():
    logps, old, _, mask, *_ = rollout()
    grad = jax.grad(lambda x: losses.kl_score_loss(x, old, mask).loss.value)(logps)
    for i, row in enumerate(mask):
        h = sum(float(logps[i, t]) - float(old[i, t]) for t in np.flatnonzero(row))
        np.testing.assert_allclose(grad[i], h * row / len(mask), rtol=1e-4, atol=1e-7)


def test_two_denominators_join_exactly_over_microbatches():
    rng = np.random.default_rng(0)
    logps, text = -rng.gamma(2.0, size=(2, 4, 5)).astype(np.float32)
    masks = rng.random((2, 4, 5)) < 0.6

    def part(rows):
        first = losses.ptx_term(logps[rows], masks[0][rows], coef=1.0)
        term = losses.ptx_term(text[rows], masks[1][rows], coef=27.8)
        terms = {"first": first, "term": term}
        return losses.combine(terms, {"first": 1.0, "term": 1.0}).loss

    total = part(slice(0, 1)) + part(slice(1, 4))
    expected = -logps[masks[0]].mean() - 27.8 * text[masks[1]].mean()
    np.testing.assert_allclose(total.value, expected, rtol=1e-5)


def test_without_its_weight_the_pretraining_term_is_gone():
    """Identity 24: γ = 0 is PPO."""
    logps, old, advantages, mask, *_ = rollout()
    ppo = losses.ppo_policy_loss(logps, old, advantages, mask)
    terms = {"ppo": ppo, "ptx": losses.ptx_term(old, mask, coef=0.0)}
    both = losses.combine(terms, {"ppo": 1.0, "ptx": 1.0})
    assert both.loss.value == ppo.loss.value


@pytest.mark.parametrize(
    ("loss", "keyword"), [("grpo_loss", "beta"), ("dapo_loss", "beta")]
)
def test_a_kl_term_without_a_reference_is_refused(loss, keyword):
    logps, old, advantages, mask, *_ = rollout()
    with pytest.raises(ValueError, match="beta=0.1 needs ref_logps"):
        getattr(losses, loss)(logps, old, advantages, mask, **{keyword: 0.1})


@pytest.mark.parametrize(
    ("loss", "keyword", "bad"),
    [
        ("ppo_policy_loss", "clip", 1.1),
        ("ppo_policy_loss", "clip_high", 0.0),
        ("dual_clip_policy_loss", "dual_clip", 1.0),
        ("gmpo_loss", "log_clip", -0.4),
        ("sapo_loss", "temperature", 0.0),
        ("dapo_loss", "beta", -0.1),
    ],
)
def test_hyperparameters_out_of_range_are_refused(loss, keyword, bad):
    logps, old, advantages, mask, *_ = rollout()
    with pytest.raises(ValueError, match=f"{keyword} must be in .* got {bad}"):
        getattr(losses, loss)(logps, old, advantages, mask, **{keyword: bad})
