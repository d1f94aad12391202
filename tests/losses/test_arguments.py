"""Arrays that mean something else are refused, by every loss and for every argument.

What an argument must be is read from the docstring of the loss (`[..., T]`, float); the
arrays are made from that, so the tests hold the docstrings too.
"""

import inspect
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.errors import UserError
from jaxalign.losses import Pair
from jaxalign.recipes.flags.keyword_flags import arguments

NAMES = [x for x in losses.__all__ if x.endswith("_loss")] + [
    "entropy_bonus",
    "ptx_term",
]
SIZES = {"...": (3,), "K": (2,), "T": (5,), "A": (2,)}
NEEDED = {"max_length": 8.0}
UNSHAPED = {"targets": "[...]", "known": "[...]", "top": "an integer"}


class Argument:
    """One array of a loss, as its docstring has it."""

    def __init__(self, parameter: inspect.Parameter, text: str):
        found = re.search(r"`(\[[^`]*\])`", text)
        self.name = parameter.name
        self.shape = found[1] if found else UNSHAPED.get(self.name, "a scalar")
        self.is_pair = "Pair" in str(parameter.annotation)
        self.is_mask = "bool" in text.replace("bool or float", "")
        self.is_mask |= self.name == "known"
        self.is_required = parameter.default is parameter.empty
        self.of_tokens = self.shape.endswith("T]")

    def axes(self, longer=0) -> tuple[int, ...]:
        names = [x for x in self.shape.strip("[]").split(", ") if x in SIZES]
        sizes = [n for name in names for n in SIZES[name]]
        if self.of_tokens:
            sizes[-1] += longer
        return tuple(sizes)

    def array(self, dtype=None, change=lambda x: x) -> Any:
        dtype = dtype or (np.bool_ if self.is_mask else np.float32)
        sides = [change(np.ones(self.axes(longer), dtype)) for longer in (0, 2)]
        return Pair(*sides) if self.is_pair else sides[0]


def arrays_of(name) -> list[Argument]:
    loss = getattr(losses, name)
    texts = arguments(loss)
    found = [
        Argument(p, texts[p.name])
        for p in inspect.signature(loss).parameters.values()
        if "Array" in str(p.annotation) and p.name != "top"
    ]
    assert len(found) > 1
    return found


def needed(name) -> dict[str, Any]:
    keywords = inspect.signature(getattr(losses, name)).parameters
    return {k: v for k, v in NEEDED.items() if k in keywords}


def run(name, arrays):
    return jax.eval_shape(lambda x: getattr(losses, name)(**x, **needed(name)), arrays)


def refusal(name, arrays) -> str:
    with pytest.raises(UserError) as error:
        run(name, arrays)
    text = str(error.value)
    assert "\n" not in text
    return text


def with_one(found, name, array):
    return {x.name: array if x.name == name else x.array() for x in found}


def shape_text(x):
    return f"[{', '.join(map(str, np.shape(x)))}]"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_docstring_says_runs_with_and_without_what_is_optional(name):
    """So `grpo_loss` and all others run with their defaults."""
    found = arrays_of(name)
    for some in (found, [x for x in found if x.is_required]):
        out = run(name, {x.name: x.array() for x in some})
        assert out.loss.total.shape == ()


@pytest.mark.parametrize("name", NAMES)
def test_sums_over_responses_are_not_taken_for_tokens(name):
    """All arrays of tokens have one axis: [B] would be read as one sequence [T]."""
    found = arrays_of(name)
    tokens = [x for x in found if x.of_tokens]
    if not tokens:
        pytest.skip("it reads scores of whole responses")
    arrays = {
        x.name: x.array(change=lambda x: x[(0,) * (x.ndim - 1)])
        if x.of_tokens
        else x.array(change=lambda x: x.ravel()[0])
        for x in found
    }
    text = refusal(name, arrays)
    first = next(x for x in tokens)
    assert f"`{first.name}" in text
    assert "expected [..., T]" in text
    assert "has shape [5]" in text
    assert "sums over responses" in text


CHANGES = {
    "[B]": lambda x: x[..., 0],
    "[B, 1]": lambda x: x[..., :1],
    "[B, T - 1]": lambda x: x[..., 1:],
    "[B - 1, T]": lambda x: x[1:],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_what_would_be_broadcast_over_tokens_is_refused(name, change):
    """Advantages [B] or [B, 1], a reference shifted once more, a missing row."""
    found = arrays_of(name)
    for x in found:
        if not x.of_tokens:
            continue
        wrong = x.array(change=CHANGES[change])
        text = refusal(name, with_one(found, x.name, wrong))
        assert re.search(rf"`{x.name}(\.\w+)?` has ", text), text
        assert "expected [..., T" in text
        assert "= [" in text


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_responses_are_not_broadcast_either(name):
    found = arrays_of(name)
    for x in found:
        if x.of_tokens or x.is_mask or x.name in ("targets", "z0"):
            continue
        wrong = x.array(change=lambda a: a[..., None])
        text = refusal(name, with_one(found, x.name, wrong))
        assert f"`{x.name}" in text or "`mask`" in text or "`valid`" in text
        assert "expected" in text


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("name", NAMES)
def test_masks_are_bool(name, dtype):
    found = arrays_of(name)
    masks = [x for x in found if x.is_mask]
    assert masks
    for x in masks:
        text = refusal(name, with_one(found, x.name, x.array(dtype)))
        assert re.search(rf"`{x.name}(\.\w+)?` is {np.dtype(dtype)} of shape", text)
        assert "expected bool [" in text
        assert ("astype(bool)" in text) == (dtype == np.int32)


@pytest.mark.parametrize("dtype", [np.int32, np.bool_])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_floats(name, dtype):
    found = arrays_of(name)
    for x in found:
        if x.is_mask or x.name == "ranks" or (x.name == "weights" and x.of_tokens):
            continue
        text = refusal(name, with_one(found, x.name, x.array(dtype)))
        assert re.search(rf"`{x.name}(\.\w+)?` is {np.dtype(dtype)} of shape", text)
        assert "expected float" in text


@pytest.mark.parametrize("name", NAMES)
def test_an_array_is_not_taken_for_a_pair_nor_a_pair_for_an_array(name):
    found = arrays_of(name)
    for x in found:
        if x.is_pair:
            stacked = np.ones((2, *x.axes()), bool if x.is_mask else np.float32)
            wrong = [stacked, stacked[:, 0], {"chosen": 1, "rejected": 2}]
            wrong.append((stacked, stacked, stacked))
        else:
            wrong = [Pair(x.array(), x.array())]
        for array in wrong:
            with pytest.raises(UserError) as error:
                getattr(losses, name)(**with_one(found, x.name, array), **needed(name))
            assert f"`{x.name}`" in str(error.value)
            assert (
                "expected Pair(chosen, rejected)" in str(error.value) or not x.is_pair
            )


@pytest.mark.parametrize("name", NAMES)
def test_sides_may_be_a_tuple_or_a_list(name):
    found = arrays_of(name)
    plain = {x.name: x.array() for x in found}
    expected = run(name, plain)
    listed = {k: [*v] if isinstance(v, Pair) else v for k, v in plain.items()}
    assert jax.tree.structure(run(name, listed)) == jax.tree.structure(expected)


def test_the_words():
    logps, mask = jnp.zeros((3, 5)), jnp.ones((3, 5), bool)
    arrays: Any = {"logps": logps, "old_logps": logps, "mask": mask}
    text = refusal("grpo_loss", arrays | {"advantages": jnp.zeros(3)})
    assert text == (
        "`advantages` has shape [3]; expected [..., T] = [3, 5], since `mask` has "
        "[..., T] = [3, 5]. A number of each response is given to all its tokens by "
        "jnp.broadcast_to(advantages[..., None], mask.shape)."
    )
    text = refusal("grpo_loss", arrays | {"logps": jnp.zeros(3), "advantages": logps})
    assert text == (
        "`logps` has shape [3]; expected [..., T] = [3, 5], since `mask` has "
        "[..., T] = [3, 5]. Sums over responses will not do: give those of the tokens."
    )
