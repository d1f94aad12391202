"""Reliability bins against loops."""

import jax.numpy as jnp
import numpy as np

from jaxalign.ops import expected_calibration_error, reliability


def error_in_loops(margins, num_bins):
    bins = [[] for _ in range(num_bins)]
    for m in margins:
        confidence = 1 / (1 + np.exp(-abs(float(m))))
        at = min(int((confidence - 0.5) / 0.5 * num_bins), num_bins - 1)
        bins[at].append((confidence, 0.5 if m == 0 else float(m > 0)))
    n = len(margins)
    gaps = [
        abs(np.mean([c for c, _ in b]) - np.mean([a for _, a in b])) for b in bins if b
    ]
    return sum(
        len(b) / n * g for b, g in zip([b for b in bins if b], gaps, strict=True)
    )


def test_the_error_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    margins = (2 * rng.normal(size=(20, 5)) + 0.5).astype(np.float32)
    margins[0, 0] = 0
    where = rng.random((20, 5)) < 0.7
    where[0, 0] = True
    given = jnp.asarray(np.where(where, margins, np.nan))
    for num_bins in (1, 4, 10):
        bins = reliability(given, jnp.asarray(where), num_bins=num_bins)
        assert float(bins.count.sum()) == where.sum()
        expected = error_in_loops(margins[where], num_bins)
        np.testing.assert_allclose(
            expected_calibration_error(bins), expected, rtol=1e-5
        )


def test_a_model_that_is_as_sure_as_it_is_right_has_no_error():
    margin = np.log(3.0, dtype=np.float32)  # 3 to 1
    margins = jnp.array([margin, margin, margin, -margin])
    bins = reliability(margins, jnp.ones(4, bool))
    np.testing.assert_allclose(expected_calibration_error(bins), 0, atol=1e-6)
    nothing = reliability(margins, jnp.zeros(4, bool))
    assert expected_calibration_error(nothing) == 0


def test_certainty_falls_into_the_last_bin():
    bins = reliability(jnp.array([1e4, -1e4]), jnp.ones(2, bool), num_bins=4)
    assert bins.count.tolist() == [0, 0, 0, 2]
    assert bins.correct.tolist() == [0, 0, 0, 1]
