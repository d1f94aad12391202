"""What holds for every loss: one suite, run over all of them.

One program evaluates a quarter of all losses, for each property: compiling is what
takes time, more of it in one program for all and in one for each.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import is_batch_coupled
from tests.losses.losses_under_test import CASES
from tests.ways import by_jit, by_pmap, by_shard_map, by_vmap

GARBAGE = [0.0, 1e30, np.inf, -np.inf, np.nan]
ORDER = np.array([3, 1, 4, 0, 2])
# What devices do with sums is the same for all: some losses of each kind show it.
FEW = tuple(CASES)[::8]


@pytest.fixture(params=CASES)
def name(request):
    return request.param


PART = {name: tuple(CASES)[i % 4 :: 4] for i, name in enumerate(CASES)}


def inputs_of(names, seed, b, t):
    """`{name: arguments}`; a program takes only what is an array."""
    return {
        name: CASES[name].make_inputs(np.random.default_rng(seed), b, t)
        for name in names
    }


def is_mask(x):
    return x.dtype == bool


def totals_and_slopes(scale, inputs):
    """Sums of each loss at `scale * first argument`, and d total / d scale."""

    def total(scale, loss, first, *rest):
        out = loss(jax.tree.map(lambda x: x * scale, first), *rest)
        return jnp.sum(out.loss.total), out

    def numbers(name, rows):
        grad = jax.value_and_grad(total, has_aux=True)
        leaves = jax.tree.leaves(grad(scale, CASES[name].loss, *rows))
        return jnp.concatenate([jnp.ravel(x) for x in leaves])

    return {name: numbers(name, rows) for name, rows in inputs.items()}


@functools.cache
def sums(way, names):
    inputs = inputs_of(names, 0, 16, 5)
    return jax.device_get(way(totals_and_slopes, jnp.float32(1.1), (inputs,)))


def split(inputs):
    """The floats and the masks of each loss, with None in the other's places."""
    floats = jax.tree.map(lambda x: None if is_mask(x) else x, inputs)
    return floats, jax.tree.map(lambda x: x if is_mask(x) else None, inputs)


def merge(floats, masks):
    return jax.tree.map(
        lambda x, y: y if x is None else x, floats, masks, is_leaf=lambda x: x is None
    )


@jax.jit
def outputs_and_gradients(floats, masks):
    """Of each loss: its value, all sums, and the gradients of all arrays of floats."""

    def one(loss, floats, masks):
        def value(floats):
            out = loss(*merge(floats, masks))
            return out.loss.value, out

        return jax.value_and_grad(value, has_aux=True)(floats)

    return {name: one(CASES[name].loss, x, masks[name]) for name, x in floats.items()}


def wider(inputs, columns=2):
    """More columns to the right, masked."""

    def pad(x):
        return np.pad(x, [(0, 0)] + [(0, columns)] * (x.ndim - 1))

    return jax.tree.map(pad, inputs)


def filled(arguments, garbage):
    """Garbage in all masked places of a loss's arguments."""
    masks = {x.shape: x for x in jax.tree.leaves(arguments) if is_mask(x)}

    def poisoned(x):
        if is_mask(x) or x.shape not in masks:
            return x
        return np.where(masks[x.shape], x, np.float32(garbage))

    return jax.tree.map(poisoned, arguments)


def far_apart(arguments):
    """The first argument moved by a thousand nats, up and down in turn."""
    first, *rest = arguments

    def move(x):
        return x + 1e3 * np.resize([1.0, -1.0, -1.0], x.shape).astype(np.float32)

    return jax.tree.map(move, first), *rest


@jax.jit
def outputs(floats, masks):
    """Of each loss: its value and all sums."""
    rows = merge(floats, masks)
    found = {name: CASES[name].loss(*rows[name]) for name in rows}
    return {name: (out.loss.value, out) for name, out in found.items()}


@functools.cache
def narrow(way, names):
    """Of rows without a column of padding more than they need."""
    return jax.device_get(way(*split(inputs_of(names, 3, 5, 4))))


@functools.cache
def computed(kind, names):
    """Of the same rows with two columns of padding more."""
    inputs = wider(inputs_of(names, 3, 5, 4))
    if kind == "all masked":
        inputs = jax.tree.map(
            lambda x: x & False if is_mask(x) else np.full_like(x, np.nan), inputs
        )
    elif kind == "permuted":
        inputs = jax.tree.map(lambda x: x[ORDER], inputs)
    elif kind == "far apart":
        inputs = {name: far_apart(x) for name, x in inputs.items()}
    elif kind != "plain":
        inputs = {name: filled(x, kind) for name, x in inputs.items()}
    return jax.device_get(outputs_and_gradients(*split(inputs)))


def assert_sums_are_equal(name, got):
    if is_batch_coupled(CASES[name].loss):
        pytest.skip("declared: parts of a batch do not add up")
    np.testing.assert_allclose(
        got, sums(by_jit, PART[name])[name], rtol=1e-5, atol=2e-5
    )


def test_sums_are_those_of_one_row_after_the_other(name):
    """Fault 2: devices that share the rows change the loss."""
    assert_sums_are_equal(name, sums(by_vmap, PART[name])[name])


@pytest.mark.parametrize("way", [by_shard_map, by_pmap])
@pytest.mark.parametrize("few", FEW)
def test_devices_that_share_rows_give_the_same_sums(few, way):
    assert_sums_are_equal(few, sums(way, FEW)[few])


@pytest.mark.slow
@pytest.mark.parametrize("way", [by_shard_map, by_pmap])
def test_devices_that_share_rows_give_the_same_sums_of_all(name, way):
    assert_sums_are_equal(name, sums(way, PART[name])[name])


def test_devices_may_share_the_rows(name):
    """All of it traces where types say on which devices a value differs."""
    inputs = inputs_of((name,), 0, 16, 5)
    run = functools.partial(by_shard_map, totals_and_slopes)
    (sums,) = jax.eval_shape(run, np.float32(1.1), (inputs,)).values()
    assert sums.ndim == 1


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_masked_changes_neither_loss_nor_gradient_nor_metrics(name, garbage):
    """Fault 7: metrics are averaged over padding."""
    (clean, clean_grads), (dirty, dirty_grads) = (
        computed(kind, PART[name])[name] for kind in (-1.0, garbage)
    )
    chex.assert_trees_all_equal(dirty, clean)
    chex.assert_trees_all_equal(dirty_grads, clean_grads)
    plain = narrow(outputs, PART[name])[name]
    chex.assert_trees_all_close(clean, plain, rtol=1e-5)


@pytest.mark.slow
def test_gradients_do_not_depend_on_the_width(name):
    clean, clean_grads = computed(-1.0, PART[name])[name]
    cut = jax.tree.map(lambda g: g[:, *[slice(-2)] * (g.ndim - 1)], clean_grads)
    plain = narrow(outputs_and_gradients, PART[name])[name]
    chex.assert_trees_all_close((clean, cut), plain, rtol=1e-5)


def test_an_all_masked_batch_gives_zero_and_no_nan(name):
    got = computed("all masked", PART[name])[name]
    chex.assert_trees_all_equal(got, jax.tree.map(np.zeros_like, got))


def test_no_row_depends_on_another(name):
    """A permutation of the batch permutes the gradient and changes nothing else."""
    (plain, grads), (moved, moved_grads) = (
        computed(kind, PART[name])[name] for kind in ("plain", "permuted")
    )
    chex.assert_trees_all_close(moved, plain, rtol=1e-5, atol=1e-6)
    grads = jax.tree.map(lambda g: g[ORDER], grads)
    chex.assert_trees_all_close(moved_grads, grads, rtol=1e-5, atol=1e-6)


def test_gradients_reach_the_policy_and_nothing_that_is_frozen(name):
    grads = computed("plain", PART[name])[name][1]
    assert any(np.any(g != 0) for g in jax.tree.leaves(grads[0]))
    for i in CASES[name].frozen:
        assert all(np.all(g == 0) for g in jax.tree.leaves(grads[i]))


def test_log_ratios_of_a_thousand_have_finite_losses_and_gradients(name):
    """Fault 24: an exponential of a raw log-ratio overflows."""
    assert all(
        np.all(np.isfinite(x))
        for x in jax.tree.leaves(computed("far apart", PART[name])[name])
    )


@functools.cache
def in_half_precision(names):
    """Each loss on 1,000 copies of a row, and with all but the first masked."""
    one = jax.tree.map(
        lambda x: x | True if is_mask(x) else x.astype(jnp.bfloat16),
        inputs_of(names, 0, 1, 2),
    )
    many = jax.tree.map(lambda x: np.repeat(x, 1000, axis=0), one)

    @jax.jit
    def run(inputs):
        return {name: CASES[name].loss(*rows) for name, rows in inputs.items()}

    def first(x):
        row = np.arange(1000).reshape(-1, *[1] * (x.ndim - 1)) == 0
        return x & row if is_mask(x) else x

    return jax.device_get((run(jax.tree.map(first, many)), run(many)))


def test_half_precision_is_summed_in_float32(name):
    """1,000 tokens of the same cost: a running bfloat16 sum sticks at 256 of them."""
    one, many = (x[name] for x in in_half_precision(PART[name]))
    expected = jax.tree.map(lambda x: 1000 * x, one)
    chex.assert_trees_all_close(many, expected, rtol=1e-5, atol=1e-4)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(many))


TRACED = [(name, key) for name, case in CASES.items() for key in case.traced]

# Limits that the inputs of this test do not reach.
UNSEEN = {("beta_dpo", "min_beta"), ("infonca", "alpha"), ("wpo", "max_weight")}


@functools.cache
def traced_and_static(names):
    """Each loss with traced hyperparameters, and with the same Python numbers.

    The traced ones are mapped over settings: all at their first value, then each in
    turn at its second.
    """

    @jax.jit
    def run(inputs):
        def values(name, rows):
            pairs = CASES[name].traced

            def at(options):
                return CASES[name].loss(*rows, **options).loss.value

            settings = {
                key: jnp.array([first, *(second if k == key else first for k in pairs)])
                for key, (first, second) in pairs.items()
            }
            return jax.vmap(at)(settings), at({k: x[0] for k, x in pairs.items()})

        return {name: values(name, rows) for name, rows in inputs.items()}

    inputs = inputs_of(names, 0, 12, 4)
    return jax.device_get(run({k: x for k, x in inputs.items() if CASES[k].traced}))


@pytest.mark.parametrize(("name", "key"), TRACED)
def test_hyperparameters_may_be_traced(name, key):
    traced, static = traced_and_static(PART[name])[name]
    np.testing.assert_allclose(traced[0], static, rtol=1e-5, atol=1e-6)
    changed = traced[1 + [*CASES[name].traced].index(key)]
    assert np.isfinite(changed)
    if (name, key) not in UNSEEN:
        assert changed != traced[0]
