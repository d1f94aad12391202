"""What an argument must be, in words; and public functions that say so."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.losses
from jaxalign import ops
from jaxalign.errors import UserError
from jaxalign.ops import check_arrays
from jaxalign.ops.checks import check_range
from jaxalign.rewards import token_rewards

losses: Any = jaxalign.losses
X, MASK = jnp.zeros((4, 7)), jnp.ones((4, 7), bool)
TOKENS, MASKS = "float[+, T]", "bool[+, T]"


def refusal(**arguments):
    with pytest.raises(UserError) as error:
        check_arrays(**arguments)
    return str(error.value)


def test_what_fits_passes():
    check_arrays(x=(X, TOKENS), none=(None, TOKENS), mask=(MASK, MASKS))
    check_arrays(x=(X[0, 0], "float[...]"), y=(0.5, "float[]"))
    check_arrays(x=(X, "float[A, B]"), y=(X.T, "float[B, A]"), z=(X[0], "float[B]"))
    check_arrays(x=(np.ones(3, np.int8), "float|int[...]"))
    check_arrays(x=(X.astype(jnp.bfloat16), TOKENS))


def test_what_most_agree_on_is_right():
    text = refusal(a=(X, TOKENS), b=(X, TOKENS), mask=(MASK[:, 1:], MASKS))
    assert text == (
        "`mask` has shape [4, 6]; expected [..., T] = [4, 7], since `a` has "
        "[..., T] = [4, 7]."
    )
    text = refusal(a=(X, TOKENS), mask=(MASK[:, 1:], MASKS))
    assert text.startswith("`a` has shape [4, 7]; expected [..., T] = [4, 6]")


def test_the_names_of_axes_are_sizes():
    text = refusal(x=(X, "float[R, V]"), y=(X, "float[V, D]"))
    assert text == (
        "`y` has shape [4, 7]; expected [V, D] = [7, D], since `x` has [R, V] = [4, 7]."
    )


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([[1.0]], "`x` is a list; expected an array [..., T] of float."),
        (0.5, "`x` is a float; expected an array [..., T] of float."),
        (np.ones((2, 3), int), "give x.astype(jnp.float32)"),
        (np.ones((2, 3), bool), "Is another array in its place?"),
        (np.ones(3, np.float32), "Give the numbers of the tokens"),
    ],
)
def test_words(x, words):
    assert words in refusal(x=(x, TOKENS))


def test_a_number_out_of_range():
    with pytest.raises(UserError, match=r"^lam must be in \[0, 1\], got 1.5$"):
        check_range("lam", 1.5, 0, 1, closed_high=True)
    check_range("lam", None, 0, 1)
    check_range("lam", jnp.float32(7), 0, 1)


OF_TOKENS = {
    "sequence_logps": lambda x, m: ops.sequence_logps(x, m),
    "token_mean": lambda x, m: ops.token_mean(x, m),
    "sequence_mean": lambda x, m: ops.sequence_mean(x, m),
    "sequence_sum": lambda x, m: ops.sequence_sum(x, m),
    "fixed_length": lambda x, m: ops.fixed_length(x, m, max_length=3),
    "reinforce_pp_advantages": lambda x, m: ops.reinforce_pp_advantages(x, m),
    "truncated": lambda x, m: losses.truncated_importance_weights(x, x, m),
    "masked": lambda x, m: losses.masked_importance_weights(x, x, m),
    "sequence": lambda x, m: losses.sequence_importance_weights(x, x, m),
    "off_policy": lambda x, m: losses.off_policy_mask(x, x, x, m, threshold=1.0),
    "kto_reference_point": lambda x, m: losses.kto_reference_point(x, x, m),
    "token_rewards": lambda x, m: token_rewards(x.sum(-1), x, x, m),
}


@pytest.mark.parametrize("name", OF_TOKENS)
def test_functions_of_tokens_refuse_sums_integer_masks_and_one_number_a_row(name):
    fn = OF_TOKENS[name]
    fn(X, MASK)
    for x, mask, words in (
        (X[:, 0], MASK[:, 0], r"has shape \[4\]; expected \[..., T\], the numbers of"),
        (X, MASK.astype(int), "`mask` is int32 of shape .* expected bool"),
        (X[:, :1], MASK, r"\[4, 1\].*|.*\[4, 7\]"),
    ):
        with pytest.raises(UserError, match=words):
            fn(x, mask)


OTHERS = {
    "kl_k3": lambda: ops.kl_k3(X, X, MASK[:, :1]),
    "gae": lambda: ops.gae(X, X[:, 0], MASK),
    "gae_lam": lambda: ops.gae(X, X, MASK, lam=1.5),
    "reward_to_go": lambda: ops.reward_to_go(X[:, 0], MASK),
    "group_advantages": lambda: ops.group_advantages(X, MASK[0]),
    "greedy": lambda: ops.greedy_baseline_advantages(X, X, MASK),
    "batch": lambda: ops.batch_baseline_advantages(X, MASK[:, 0]),
    "token_stats": lambda: ops.token_stats(X, X),
    "token_logps": lambda: ops.token_logps(X, jnp.zeros(4, int), temperature=0.0),
    "kl_exact": lambda: ops.kl_exact(X, X[:, 1:]),
    "best_of_n": lambda: ops.best_of_n(X, MASK[0]),
    "mean": lambda: ops.Mean.of(X, where=MASK[0]),
    "masked": lambda: ops.masked(X, MASK.astype(jnp.float32)),
    "soft_value": lambda: losses.soft_value(X, MASK[0]),
    "plackett_luce_nll": lambda: losses.plackett_luce_nll(X, X),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_refuse_in_words_too(name):
    with pytest.raises(UserError, match="expected|must be in"):
        OTHERS[name]()
