"""Devices that share a vocabulary choose the tokens that one with all of it does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import Layout, laid_out
from jaxalign.parallel import ACTIVATIONS, make_mesh
from jaxalign.rollout.sampling import sample_tokens
from jaxalign.rollout.split_sampling import chosen_together, shares_vocabulary

WAYS = [
    {},
    {"top_k": 5},
    {"top_p": np.float32(0.7)},
    {"top_k": 50, "top_p": np.float32(0.5)},
]


# Of 600 tokens blocks of the draw lie on two devices; 40 are less than a block.
@pytest.mark.parametrize("size", [600, 40])
def test_together_they_choose_as_one_does(size):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(2 * rng.normal(size=(64, size)), jnp.float32)
    # Equal ones, of which the lower id counts; and some that must not be taken.
    logits = logits.at[:, size // 2].set(9.0).at[:, 3].set(9.0)
    allowed = logits.at[:, 3].set(-jnp.inf).at[::2, size - 1].set(9.0)
    uniforms = jnp.asarray(rng.uniform(size=(64, 2)), jnp.float32)

    def alone(logits, allowed, uniforms):
        greedy = jnp.argmax(allowed, axis=-1).astype(jnp.int32)
        drawn = [sample_tokens(allowed, uniforms, **way) for way in WAYS]
        logps = jax.nn.log_softmax(logits)
        return [
            (token, jnp.take_along_axis(logps, token[:, None], axis=1)[:, 0])
            for token in (greedy, *drawn)
        ]

    expected = jax.jit(alone)(logits, allowed, uniforms)
    for axes in ({"tensor": 8}, {"data": 2, "fsdp": 2, "tensor": 2}):
        layout = Layout.of(make_mesh(axes), ACTIVATIONS)

        def together(logits, allowed, uniforms, layout=layout):
            with laid_out(layout):
                assert shares_vocabulary(size)
                greedy = chosen_together(logits, allowed, None)
                drawn = [
                    chosen_together(logits, allowed, uniforms, **way) for way in WAYS
                ]
            return [greedy, *drawn]

        got = jax.jit(together)(logits, allowed, uniforms)
        for (token, logps), (right, right_logps) in zip(got, expected, strict=True):
            np.testing.assert_array_equal(token, right)
            np.testing.assert_allclose(logps, right_logps, rtol=1e-5)
