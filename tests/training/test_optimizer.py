"""Optimizers against loops over single numbers, schedules at named points."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign.errors import UserError
from jaxalign.training import OptimizerConfig, make_optimizer
from jaxalign.training.optimizer import decayed, make_schedule, optimizer_step_count

PARAMS = {
    "kernel": np.array([[0.5, -1.0], [2.0, 0.25]]),
    "norm": {"scale": np.array([[1.0, 2.0]])},  # two axes, as in a stack of layers
    "bias": np.array([0.3, -0.7]),
}
GRADS = [
    {
        "kernel": np.array([[0.1, -0.2], [0.3, 1.0]]),
        "norm": {"scale": np.array([[-0.4, 0.5]])},
        "bias": np.array([0.6, -0.05]),
    },
    {
        "kernel": np.array([[-0.3, -0.1], [0.0, 2.0]]),
        "norm": {"scale": np.array([[0.2, -0.9]])},
        "bias": np.array([-0.6, 0.4]),
    },
]


def run(config, steps=2, grads=GRADS):
    """The parameters after `steps` updates by the optimizer under test."""
    optimizer, _ = make_optimizer(config, num_steps=10)
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)
    state = optimizer.init(params)
    for grad in grads[:steps]:
        grad = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), grad)
        updates, state = optimizer.update(grad, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def each_number(rule):
    """Runs `rule(p, [g1, g2], decays) -> p` on every number of the parameters."""
    clipped = []
    for grads in GRADS:
        norm = math.sqrt(sum(float(np.sum(g**2)) for g in jax.tree.leaves(grads)))
        factor = min(1.0, 1.0 / norm)
        clipped.append(jax.tree.map(lambda g, f=factor: g * f, grads))

    def leaf(path, p, *gs):
        decays = path[0].key == "kernel"
        out = np.zeros_like(p)
        for i in np.ndindex(p.shape):
            out[i] = rule(float(p[i]), [float(g[i]) for g in gs], decays)
        return out

    return jax.tree_util.tree_map_with_path(leaf, PARAMS, *clipped)


def test_adamw_is_that_of_loshchilov_and_hutter():
    lr, b1, b2, eps, decay = 0.1, 0.8, 0.95, 1e-6, 0.2

    def rule(p, gs, decays):
        m = v = 0.0
        for t, g in enumerate(gs, start=1):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            step = (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
            p -= lr * (step + (decay * p if decays else 0.0))
        return p

    config = OptimizerConfig(
        learning_rate=lr, b1=b1, b2=b2, eps=eps, weight_decay=decay, max_grad_norm=1.0
    )
    got, _ = run(config)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        got,
        each_number(rule),
    )


def test_rmsprop_is_that_of_the_dpo_paper():
    """torch.optim.RMSprop(alpha=0.99, eps=1e-8): eps outside of the root."""

    def rule(p, gs, decays):
        v = 0.0
        for g in gs:
            v = 0.99 * v + 0.01 * g * g
            p -= 0.01 * g / (math.sqrt(v) + 1e-8)
        return p

    got, _ = run(OptimizerConfig(name="rmsprop", learning_rate=0.01))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        got,
        each_number(rule),
    )


def test_lion_is_the_sign_of_an_interpolation():
    def rule(p, gs, decays):
        m = 0.0
        for g in gs:
            p -= 0.01 * (np.sign(0.9 * m + 0.1 * g) + (0.5 * p if decays else 0.0))
            m = 0.99 * m + 0.01 * g
        return p

    got, _ = run(OptimizerConfig(name="lion", learning_rate=0.01, weight_decay=0.5))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        got,
        each_number(rule),
    )


def test_adafactor_takes_steps_of_the_learning_rate():
    """Unfactored first step: g / sqrt(g^2), whatever the size of the parameter."""
    got, _ = run(OptimizerConfig(name="adafactor", learning_rate=0.01), steps=1)
    expected = jax.tree.map(lambda p, g: p - 0.01 * np.sign(g), PARAMS, GRADS[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected
    )


def test_muon_makes_the_step_of_a_matrix_nearly_orthogonal():
    """All singular values of the update are near 0.2 sqrt(max side) lr."""
    rng = np.random.default_rng(0)
    params = {"layers": {"kernel": jnp.zeros((3, 8, 4)), "bias": jnp.zeros((3, 4))}}
    grads = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params
    )
    optimizer, _ = make_optimizer(OptimizerConfig(name="muon", learning_rate=0.1), 10)
    updates: Any = optimizer.update(grads, optimizer.init(params), params)[0]
    values = np.linalg.svd(updates["layers"]["kernel"], compute_uv=False)
    assert values.shape == (3, 4)
    scale = 0.1 * 0.2 * math.sqrt(8)
    assert np.all((values > 0.6 * scale) & (values < 1.3 * scale))
    # The bias is Adam's, whose first step is the sign of the gradient.
    np.testing.assert_allclose(
        updates["layers"]["bias"], -0.1 * np.sign(grads["layers"]["bias"]), rtol=1e-4
    )


def test_clipping_is_by_the_global_norm():
    """Without a second moment to hide the scale: adafactor and Adam would be blind."""
    config = OptimizerConfig(name="lion", learning_rate=1.0, max_grad_norm=0.5)
    _, state = run(config, steps=1)
    mu = optax.tree.get(state, "mu")
    norm = math.sqrt(sum(float(np.sum(np.square(x))) for x in jax.tree.leaves(mu)))
    np.testing.assert_allclose(norm, 0.01 * 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "points"),
    [
        # (updates made, learning rate); DPO paper: min(1, (step + 1) / (warm-up + 1))
        ({"warmup_steps": 3}, {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 4: 1.0, 99: 1.0}),
        ({"warmup_ratio": 0.3}, {0: 0.25, 2: 0.75, 3: 1.0}),
        ({"schedule": "linear"}, {0: 1.0, 5: 0.5, 9: 0.1, 10: 0.0, 11: 0.0}),
        (
            {"schedule": "linear", "warmup_steps": 2, "final_fraction": 0.2},
            {0: 1 / 3, 1: 2 / 3, 2: 1.0, 6: 0.6, 10: 0.2},
        ),
        ({"schedule": "cosine"}, {0: 1.0, 5: 0.5, 10: 0.0}),
        (
            {"schedule": "cosine", "final_fraction": 0.1},
            {0: 1.0, 2.5: 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2, 10: 0.1},
        ),
    ],
)
def test_schedules_at_named_points(config, points):
    schedule = make_schedule(OptimizerConfig(learning_rate=2.0, **config), 10)
    for count, factor in points.items():
        assert schedule(count) == pytest.approx(2 * factor, abs=1e-12)
        if isinstance(count, int):
            traced = jax.jit(schedule)(jnp.asarray(count))
            np.testing.assert_allclose(traced, 2 * factor, atol=1e-6)


def test_the_count_is_that_of_updates():
    _, state = run(OptimizerConfig(schedule="cosine"))
    assert int(optimizer_step_count(state)) == 2
    with pytest.raises(ValueError, match="no schedule"):
        optimizer_step_count(optax.sgd(0.1).init({"a": jnp.zeros(2)}))


def test_norms_and_biases_are_not_decayed():
    names = ["kernel", "norm/scale", "bias", "q_norm", "ln_1/weight", "embedding"]
    params = {name: jnp.zeros((2, 3)) for name in names} | {"vector": jnp.zeros(3)}
    chosen = [name for name, decays in decayed(params).items() if decays]
    assert chosen == ["embedding", "kernel"]


OTHER_VALUES = {
    "name": "lion",
    "learning_rate": 0.2,
    "schedule": "linear",
    "warmup_steps": 1,
    "warmup_ratio": 0.25,
    "weight_decay": 0.3,
    "b1": 0.5,
    "b2": 0.6,
    "eps": 1e-2,
    "max_grad_norm": 0.1,
    "mu_dtype": "bfloat16",
}


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(OptimizerConfig)])
def test_every_field_is_live(field):
    base = OptimizerConfig(learning_rate=0.1, eps=1e-8)
    if field == "final_fraction":
        base = dataclasses.replace(base, schedule="linear")
        other = dataclasses.replace(base, final_fraction=0.5)
    else:
        if field == "name":
            base = dataclasses.replace(base, eps=None)
        other = dataclasses.replace(base, **{field: OTHER_VALUES[field]})
    first, second = (run(config)[0] for config in (base, other))
    assert any(
        np.any(a != b)
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, r"learning_rate must be in \(0, 10\], got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be in"),
        ({"b1": 1.0}, r"b1 must be in \[0, 1\), got 1.0"),
        ({"warmup_ratio": 1.5}, "warmup_ratio must be in"),
        ({"warmup_steps": -1}, "warmup_steps must be in"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be in"),
        ({"warmup_steps": 2, "warmup_ratio": 0.1}, "the same thing twice"),
        ({"final_fraction": 0.1}, "no meaning with the constant schedule"),
        ({"name": "lion", "eps": 1e-8}, "lion has no eps"),
        ({"name": "rmsprop", "mu_dtype": "bfloat16"}, "keeps no momentum"),
        ({"name": "adam"}, "must be one of adamw, rmsprop"),
        ({"schedule": "step"}, "got 'step'"),
    ],
)
def test_nonsense_is_refused_with_its_value(values, message):
    with pytest.raises(UserError, match=message):
        OptimizerConfig(**values)


def test_a_warm_up_longer_than_a_decaying_run_is_refused():
    config = OptimizerConfig(schedule="linear", warmup_steps=10)
    with pytest.raises(UserError, match="10 steps leaves nothing to decay .* of 10"):
        make_optimizer(config, num_steps=10)
