"""The functional training step: (state, batch) -> (state, metrics)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxalign.errors import UserError, explained
from jaxalign.losses.base import LossFn, LossOutput, Objective
from jaxalign.ops import Mean, sum_dtype
from jaxalign.training.state import TrainState, check_params

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, Mean]]]


def make_train_step(
    objective: Objective | LossFn,
    optimizer: optax.GradientTransformation,
    *,
    num_microbatches: int = 1,
    microbatch_size: int | None = None,
    axis_name: str | None = None,
) -> Step:
    """Builds a pure training step; jit, shard or pmap it as you like.

    The gradient is that of the mean over the *global* batch, whatever the masks, the
    number of microbatches and the number of devices: sums are differentiated and
    added up in float32, and divided once, at the end. Of a `SumOfMeans`, a loss of
    terms with denominators of their own, the weights of the global batch are added up
    before. Compiled, that costs only what the weights follow from, which are masks for
    all losses here; the objective is traced twice more.

    A step whose loss, gradient or carry is not finite changes neither parameters nor
    optimizer state nor carry, bit for bit; it only counts as a step, and as
    `skipped_steps`.

    Args:
      objective: `(params, batch, key) -> LossOutput`; or an `Objective`, whose
        measure is that of the global batch too, and whose carry the state holds.
      optimizer: Any Optax transformation.
      num_microbatches: Parts that each batch is split into, to save memory; must
        divide its rows.
      microbatch_size: In place of `num_microbatches`: split each batch into the fewest
        equal parts of at most this many rows, whatever its size. Rows are counted as
        the step sees them: of all devices under `jit`, of one under `pmap`.
      axis_name: The mapped axis to reduce over inside `jax.pmap` or
        `jax.shard_map`; rows, parts and their sizes are then those of one device.
        Leave it out under `jax.jit`, which sees global arrays.

    Returns:
      `step(state, batch) -> (state, metrics)`, where metrics are `{name: Mean}`: the
      objective's own, `loss`, `grad_norm` (before clipping) and `skipped_steps`. Read
      `value`; or add those of several steps first, and it is their weighted mean. A
      `SumOfMeans` counts by the weight of its first term.

    Raises:
      UserError: While it is traced: an objective that couples all rows of a batch would
        be computed in parts.
    """
    objective = Objective.of(objective)

    @explained()
    def step(state: TrainState, batch):
        check_params(state.params)
        key = jax.random.fold_in(state.key, state.step)
        params = state.params
        if axis_name is not None:
            # Noise of its own for every device.
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
            params = _as_varying(params, axis_name)
        parts = _num_parts(batch, num_microbatches, microbatch_size)
        _check_whole(objective, parts, axis_name)

        measured = _measured(objective, params, batch, key, parts, axis_name)
        carry = _carried(objective, state.carry, measured)
        loss = _bound(objective, measured, carry)

        def over_all(fn):
            sums = _add_up(fn, parts, axis_name)(params, batch, key)
            return sums if axis_name is None else jax.lax.psum(sums, axis_name)

        grads, out = over_all(_grads_of_sum(loss))
        # Without a trained token the sum is 0 over 1, and not over 0.
        weight = jnp.maximum(out.loss.weight, 1.0)
        if weight.ndim:
            # Several denominators, which this first trace was to tell; none of it is
            # computed. A term whose share of the sum is known can be differentiated.
            weight = jnp.maximum(over_all(_weight_of(loss)), 1.0)
            grads, out = over_all(_grads_of_sum(loss, weight[0] / weight))
            weight = weight[0]
        # Divided in float32, and rounded once below.
        grads = jax.tree.map(lambda g: _wide(g) / weight.astype(_wide(g).dtype), grads)
        # Before clipping, which is the optimizer's first part.
        norm = optax.tree.norm(grads)
        # Wider gradients would change the type of bfloat16 moments, and compile anew.
        grads = jax.tree.map(lambda g, p: g.astype(p.dtype), grads, state.params)

        def update(params, opt_state, _):
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, carry

        finite = _all_finite((out.loss.total, norm, carry))
        # Branches, not a select over all leaves, for which XLA copies the old state.
        old = state.params, state.opt_state, state.carry
        params, opt_state, carry = jax.lax.cond(finite, update, lambda *x: x, *old)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            carry=carry,
        )
        once = jnp.ones_like(norm)
        skipped = Mean(1.0 - finite.astype(norm.dtype), once)
        own = {"grad_norm": Mean(norm, once), "skipped_steps": skipped}
        return state, {k: _one_mean(v) for k, v in _means(out).items()} | own

    return step


def make_eval_step(
    objective: Objective | LossFn,
    *,
    microbatch_size: int | None = None,
    axis_name: str | None = None,
) -> Callable[..., dict[str, Mean]]:
    """Builds a pure evaluation step, whose results add up over batches.

    Args:
      objective: `(params, batch, key) -> LossOutput`, or an `Objective`.
      microbatch_size: Split each batch as `make_train_step` does; None: compute all
        of its rows at once.
      axis_name: The mapped axis to sum over inside `jax.pmap` or `jax.shard_map`.

    Returns:
      `(params, batch, key, carry=()) -> {name: Mean}`: the objective's metrics and
      `loss`, with the carry of the state that `params` are from. Add the results of
      all batches with `+`, then read `value`.
    """
    objective = Objective.of(objective)

    @explained()
    def step(params, batch, key, carry=()):
        _check_carry(objective, carry)
        parts = _num_parts(batch, 1, microbatch_size)
        _check_whole(objective, parts, axis_name)
        measured = _measured(objective, params, batch, key, parts, axis_name)
        loss = _bound(objective, measured, carry)
        out = _add_up(loss, parts, axis_name)(params, batch, key)
        return _means(out if axis_name is None else jax.lax.psum(out, axis_name))

    return step


def _measured(objective: Objective, params, batch, key, parts: int, axis_name):
    """What the objective must know of the global batch."""
    if objective.measure is None:
        return ()
    measured = _add_up(objective.measure, parts, axis_name)(params, batch, key)
    if axis_name is not None:
        measured = jax.lax.psum(measured, axis_name)
    return jax.lax.stop_gradient(measured)


def _carried(objective: Objective, carry, measured):
    """The carry once it has taken in a batch, in the types that it has."""
    _check_carry(objective, carry)
    new = jax.lax.stop_gradient(objective.update_carry(carry, measured))
    return jax.tree.map(lambda x, old: x.astype(old.dtype), new, carry)


def _check_carry(objective: Objective, carry) -> None:
    wanted, found = jax.tree.structure(objective.carry), jax.tree.structure(carry)
    if wanted != found:
        raise ValueError(
            f"the objective's carry is {wanted}, that of the state is {found}. Make "
            "the state with TrainState.create(params, optimizer, key, "
            "objective.carry), and give an evaluation step state.carry."
        )


def _check_whole(objective: Objective, parts: int, axis_name: str | None) -> None:
    devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    if objective.batch_coupled and parts * devices > 1:
        where = f"{parts} parts" + (f" on {devices} devices" if devices > 1 else "")
        raise UserError(
            "the objective couples all rows of a batch, and would be computed in "
            f"{where}, each with a loss of its own. Compute the batch in one piece "
            "under jax.jit: without num_microbatches, or with a larger microbatch_size."
        )


def _bound(objective: Objective, measured, carry) -> LossFn:
    """The objective as a function of what is split."""

    def loss(params, batch, key):
        return objective.loss(params, batch, key, measured, carry)

    return loss


def _all_finite(tree) -> jax.Array:
    leaves = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(leaves))


def _grads_of_sum(objective: LossFn, shares: jax.Array | float = 1.0):
    """Gradient of the sum, of which several terms count by their shares, and output."""

    def grads(params, batch, key):
        def total(params):
            out = objective(params, batch, key)
            return jnp.sum(shares * out.loss.total), out

        (_, out), grads = jax.value_and_grad(total, has_aux=True)(params)
        return grads, out

    return grads


def _weight_of(objective: LossFn):
    return lambda params, batch, key: objective(params, batch, key).loss.weight


def _one_mean(mean: Mean) -> Mean:
    """The sum of several means as one, once all parts of the batch are in it."""
    if not mean.weight.ndim:
        return mean
    weight = jnp.maximum(mean.weight[0], 1.0)
    return Mean(mean.value * weight, weight)


def _means(out: LossOutput) -> dict[str, Mean]:
    return {"loss": out.loss, **out.metrics}


def _wide(x):
    return x.astype(sum_dtype(x))


def _add_up(fn, n: int, axis_name: str | None):
    """`fn(params, batch, key)`, summed in float32 over `n` parts of the batch."""
    if n == 1:
        return fn

    def summed(params, batch, key):
        parts = jax.tree.map(_split(n), batch), jax.random.split(key, n)
        shapes = jax.eval_shape(fn, params, *jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, sum_dtype(s)), shapes)
        # What scan adds to must vary over the axis as what is added does.
        if axis_name is not None:
            zeros = _as_varying(zeros, axis_name)

        def add(total, part):
            new = fn(params, *part)
            return jax.tree.map(lambda a, b: a + b.astype(a.dtype), total, new), None

        return jax.lax.scan(add, zeros, parts)[0]

    return summed


def _num_parts(batch, num_microbatches: int, microbatch_size: int | None) -> int:
    rows = jax.tree.leaves(batch)[0].shape[0]
    if microbatch_size is not None:
        fewest = -(-rows // microbatch_size)
        return next(n for n in range(fewest, rows + 1) if not rows % n)
    if rows % num_microbatches:
        raise ValueError(f"{rows} rows do not divide into {num_microbatches=}")
    return num_microbatches


def _split(n: int):
    """[B, ...] -> [n, B/n, ...], striding so that no row changes its device."""
    return lambda x: x.reshape(-1, n, *x.shape[1:]).swapaxes(0, 1)


def _as_varying(tree, axis_name: str):
    """Marks `tree` as per-device: else shard_map sums its gradients by itself."""
    return jax.tree.map(lambda x: jax.lax.pcast(x, axis_name, to="varying"), tree)
