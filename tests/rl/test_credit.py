"""From rewards to advantages: what masked places hold changes nothing, and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import rl
from jaxalign.rl import Sampled, advantages_of, gae_credit

CREDITS = {
    name: getattr(rl, f"{name}_credit")
    for name in (
        *("plain", "baseline", "group", "centered", "rloo", "remax"),
        *("whitened_to_go", "group_to_go"),
    )
} | {"gae": gae_credit()}


def make_inputs(rng, groups=3, k=4, n=5):
    lengths = rng.integers(1, n + 1, (groups, k, 1))
    return {
        "mask": np.arange(n) < lengths,
        "token_rewards": rng.normal(size=(groups, k, n)).astype(np.float32),
        "values": rng.normal(size=(groups, k, n)).astype(np.float32),
        "greedy": rng.normal(size=groups).astype(np.float32),
        "baseline": np.float32(0.25),
    }


def arrays(inputs):
    return {k: jnp.asarray(v) for k, v in inputs.items()}


@pytest.mark.parametrize("name", CREDITS)
def test_what_lies_behind_an_answer_changes_nothing(name):
    """Values and rewards of padding leak into no advantage and no return."""
    inputs = make_inputs(np.random.default_rng(0))
    expected = advantages_of(CREDITS[name], **arrays(inputs))
    for garbage in (np.nan, np.inf, 1e30):
        poisoned = dict(inputs)
        for column in ("token_rewards", "values"):
            poisoned[column] = np.where(inputs["mask"], inputs[column], garbage)
        got = advantages_of(CREDITS[name], **arrays(poisoned))
        np.testing.assert_array_equal(got.advantages, expected.advantages)
        if expected.returns is not None:
            np.testing.assert_array_equal(got.returns, expected.returns)
        assert not np.any(np.asarray(got.advantages)[~inputs["mask"]])


@pytest.mark.parametrize("name", CREDITS)
def test_an_answer_that_is_left_out_is_as_if_it_were_not_there(name):
    """Of another group's answers nothing changes; its own are 0."""
    inputs = make_inputs(np.random.default_rng(1))
    inputs["mask"][1] = False
    got = advantages_of(CREDITS[name], **arrays(inputs))
    assert not np.any(np.asarray(got.advantages)[1])
    fewer = {k: v[[0, 2]] if np.ndim(v) else v for k, v in inputs.items()}
    expected = advantages_of(CREDITS[name], **arrays(fewer))
    got = np.asarray(got.advantages)[[0, 2]]
    np.testing.assert_allclose(got, expected.advantages, rtol=1e-5, atol=1e-6)


def oracle(name, inputs):
    """One token at a time, in float64."""
    mask, rewards = inputs["mask"], inputs["token_rewards"].astype(float)
    out = np.zeros(mask.shape)
    totals = np.where(mask, rewards, 0).sum(-1)
    for g, k, t in zip(*np.nonzero(mask), strict=True):
        total, others = totals[g, k], np.delete(totals[g], k)
        out[g, k, t] = {
            "plain": total,
            "baseline": total - 0.25,
            "centered": total - totals[g].mean(),
            "group": (total - totals[g].mean()) / (totals[g].std(ddof=1) + 1e-4),
            "rloo": total - others.mean(),
            "remax": total - inputs["greedy"][g],
            "whitened_to_go": rewards[g, k, t:][mask[g, k, t:]].sum(),
            "group_to_go": total - totals[g].mean(),
        }[name]
    if name.endswith("to_go"):
        real = out[mask]
        out[mask] = (real - real.mean()) / np.sqrt(real.var() + 1e-8)
    return out


@pytest.mark.parametrize("name", sorted(CREDITS.keys() - {"gae"}))
def test_advantages_by_hand(name):
    inputs = make_inputs(np.random.default_rng(2))
    got = advantages_of(CREDITS[name], **arrays(inputs)).advantages
    np.testing.assert_allclose(got, oracle(name, inputs), rtol=1e-4, atol=1e-5)


def test_returns_come_before_whitening():
    inputs = arrays(make_inputs(np.random.default_rng(3)))
    white = advantages_of(gae_credit(), **inputs)
    plain = advantages_of(gae_credit(whiten=False), **inputs)
    assert white.returns is not None
    np.testing.assert_array_equal(white.returns, plain.returns)
    real = np.asarray(white.advantages)[np.asarray(inputs["mask"])]
    assert abs(real.mean()) < 1e-6
    assert abs(real.var() - 1) < 1e-5
    expected = np.asarray(plain.advantages + inputs["values"])
    mask = np.asarray(inputs["mask"])
    np.testing.assert_allclose(
        np.asarray(plain.returns)[mask], expected[mask], rtol=1e-5, atol=1e-6
    )


def test_what_a_method_needs_and_has_not_is_named():
    bare = {k: v for k, v in arrays(make_inputs(np.random.default_rng(0))).items()}
    bare = Sampled(bare["mask"], bare["token_rewards"], jnp.zeros(()))
    with pytest.raises(ValueError, match="values of a critic"):
        gae_credit()(bare)
    with pytest.raises(ValueError, match="greedy"):
        rl.remax_credit(bare)
