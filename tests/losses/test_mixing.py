"""Weighted sums of losses, and the reference that follows the policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import LossOutput, combine, ema_reference
from jaxalign.ops import Mean


def output(total, weight, **metrics) -> LossOutput:
    def mean(x):
        return Mean(jnp.float32(x), jnp.float32(weight))

    return LossOutput(mean(total), {name: mean(x) for name, x in metrics.items()})


def test_totals_are_added_with_their_weights_and_parts_add_up():
    parts = [
        combine(
            {"a": output(2 * n, n, x=1), "b": output(5 * n, n, x=9, y=3)},
            {"a": 1.0, "b": 0.5},
        )
        for n in (3, 1)
    ]
    assert [float(p.loss.value) for p in parts] == [4.5, 4.5]
    assert float((parts[0].loss + parts[1].loss).value) == 4.5
    first = parts[0].metrics
    assert float(first["x"].total) == 1  # the first one's
    assert float(first["y"].total) == 3
    assert float(first["loss/a"].value) == 2
    assert float(first["loss/b"].value) == 5


def test_terms_over_different_things_are_means_of_their_own_whatever_the_parts():
    """Per pair and per token, in parts where the one or the other has nothing."""
    parts = [((2, 2), (3, 7)), ((8, 3), (5, 1)), ((0, 0), (9, 2)), ((1, 1), (0, 0))]
    outs = [
        combine({"a": output(*a), "b": output(*b)}, {"a": 1.0, "b": 0.5})
        for a, b in parts
    ]
    whole = outs[0].loss
    for out in outs[1:]:
        whole = whole + out.loss
    expected = (2 + 8 + 0 + 1) / (2 + 3 + 0 + 1) + 0.5 * (3 + 5 + 9) / (7 + 1 + 2)
    np.testing.assert_allclose(whole.value, expected, rtol=1e-6)
    assert outs[2].loss.value == 0.5 * 9 / 2
    assert outs[3].loss.value == 1


def test_a_sum_in_a_sum_and_of_another_precision():
    inner = combine({"a": output(2, 2), "b": output(6, 4)}, {"a": 1.0, "b": 2.0})
    with jax.enable_x64(True):
        other = LossOutput(Mean(jnp.float64(3), jnp.float64(6)), {})
        out = combine({"in": inner, "c": other}, {"in": 0.5, "c": 1.0})
        assert out.loss.total.dtype == jnp.float64
        np.testing.assert_allclose(out.loss.value, 0.5 * (1 + 3) + 0.5)


def test_a_mean_is_not_added_to_a_sum_of_means():
    both = combine({"a": output(2, 2), "b": output(6, 4)}, {"a": 1.0, "b": 2.0})
    with pytest.raises(ValueError, match="SumOfMeans"):
        _ = both.loss + output(2, 2).loss


def test_weights_may_be_traced():
    terms = {"a": output(2, 2), "b": output(6, 2)}
    got = jax.vmap(lambda w: combine(terms, {"a": 1.0, "b": w}).loss.value)
    np.testing.assert_allclose(got(jnp.array([0.0, 2.0])), [1, 7])


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1.0, "c": 1.0}])
def test_a_weight_for_each_loss_and_no_other(weights):
    with pytest.raises(ValueError, match="one weight for each loss"):
        combine({"a": output(1, 1), "b": output(1, 1)}, weights)
    with pytest.raises(ValueError, match="one weight"):
        combine({}, {})


def test_the_reference_moves_every_n_steps():
    ref = {"w": jnp.zeros(2), "b": jnp.ones((), jnp.bfloat16)}
    params = {"w": jnp.full(2, 5.0), "b": jnp.full((), 3.0, jnp.bfloat16)}
    for step, moves in ((511, False), (512, True), (1024, True)):
        got = ema_reference(ref, params, jnp.int32(step), alpha=0.5, every=512)
        expected = (2.5, 2.0) if moves else (0.0, 1.0)
        assert (float(got["w"][0]), float(got["b"])) == expected
        assert got["b"].dtype == jnp.bfloat16
    hard = ema_reference(ref, params, jnp.int32(0), alpha=1.0)
    np.testing.assert_array_equal(hard["w"], params["w"])


def test_a_reference_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="alpha"):
        ema_reference(jnp.zeros(2), jnp.ones(2), jnp.int32(0), alpha=0.0)
    with pytest.raises(AssertionError, match="shape"):
        ema_reference(jnp.zeros(2), jnp.ones(3), jnp.int32(0))
