"""Refuses what was given for an array or a number, in words that name the argument.

All of it happens while a program is made, from types and shapes alone: nothing is left
of it in what runs.
"""

import collections
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxalign.errors import UserError

KINDS = {"float": jnp.floating, "int": jnp.integer, "bool": jnp.bool_}


def check_arrays(**arguments: tuple[Any, str]) -> None:
    """Refuses arrays of a wrong type or shape, by the name of the argument.

    What is wanted is written as in a docstring, `float[..., T]`: kinds (`float`, `int`
    or `bool`, joined by `|`) and names of axes. Arrays agree on the size of a name and
    on what stands for the dots. A plus in place of the dots wants one axis there or
    more: sums over responses, `[B]`, are then never taken for tokens, `[T]`.

    Args:
      **arguments: By name, `(array, wanted)`; what is None is left out.

    Raises:
      UserError: One paragraph: the argument, what it is, what it must be.

    >>> logps, mask = jnp.zeros((4, 7)), jnp.ones((4, 7), bool)
    >>> check_arrays(logps=(logps, "float[+, T]"), mask=(mask, "bool[+, T]"))
    >>> check_arrays(scores=(logps[0], "float[...]"), mask=(mask, "bool[+, T]"))
    Traceback (most recent call last):
    ...
    jaxalign.errors.UserError: `scores` has shape [7]; expected [...] = [4], since
    `mask` has [..., T] = [4, 7].
    """
    given = {
        name: (array, _read(wanted))
        for name, (array, wanted) in arguments.items()
        if array is not None
    }
    for name, (array, wanted) in given.items():
        _check_kind(name, array, wanted)
    shapes = {name: (jnp.shape(x), wanted) for name, (x, wanted) in given.items()}
    anchor = _anchor(shapes)
    sizes: dict[str, Any] = {}
    for name in [anchor, *shapes]:
        shape, wanted = shapes[name]
        own = wanted.sizes(shape)
        if own is None or any(sizes.get(k, v) != v for k, v in own.items()):
            raise UserError(_misfit(name, shapes, anchor, sizes))
        sizes |= own


class _Wanted(NamedTuple):
    """What an argument must be.

    Attributes:
      kinds: Names of `KINDS`, any of which will do.
      leading: "..." for any number of axes before the named ones, "+" for one or more,
        "" for none.
      names: Of the last axes.
    """

    kinds: list[str]
    leading: str
    names: list[str]

    def __str__(self) -> str:
        """As the docstrings have it."""
        if not (self.leading or self.names):
            return "a scalar"
        return f"[{', '.join([*['...'] * bool(self.leading), *self.names])}]"

    def sizes(self, shape: tuple[int, ...]) -> dict[str, Any] | None:
        """The sizes of names and dots; None if there are too few axes, or too many."""
        more = len(shape) - len(self.names)
        if more < (self.leading == "+") or (more and not self.leading):
            return None
        named = dict(zip(self.names, shape[more:], strict=True))
        return {"...": shape[:more], **named} if self.leading else named

    def known(self, sizes: Mapping[str, Any]) -> str:
        """The same with the sizes that are known."""
        if not (self.leading or self.names):
            return str(self)
        dots = map(str, sizes.get("...", ("...",))) if self.leading else ()
        return f"[{', '.join([*dots, *(str(sizes.get(x, x)) for x in self.names)])}]"


_Shapes = Mapping[str, tuple[tuple[int, ...], _Wanted]]


def _read(text: str) -> _Wanted:
    kinds, _, axes = text.rstrip("]").partition("[")
    names = [x for x in re.split(", ", axes) if x]
    leading = names.pop(0) if names and names[0] in ("...", "+") else ""
    return _Wanted(kinds.split("|"), leading, names)


def _anchor(shapes: _Shapes) -> str:
    """What the others are compared with: what most agree on, or else the mask.

    Arrays of tokens go before others. If none of them fits, the first is refused.
    """
    alike = collections.Counter((shape, str(w)) for shape, w in shapes.values())

    def rank(name: str):
        shape, wanted = shapes[name]
        if wanted.sizes(shape) is None:
            return wanted.leading == "+", 0, 0, False
        most = alike[shape, str(wanted)]
        return (
            wanted.leading == "+",
            1 + len(wanted.names),
            most,
            "bool" in wanted.kinds,
        )

    return max(shapes, key=rank)


def _check_kind(name: str, x: Any, wanted: _Wanted) -> None:
    if isinstance(x, int | float) and not (wanted.leading or wanted.names):
        return
    kinds = " or ".join(wanted.kinds)
    dtype, shape = getattr(x, "dtype", None), getattr(x, "shape", None)
    if dtype is None or shape is None:
        raise UserError(
            f"`{name}` is a {type(x).__name__}; expected an array {wanted} of {kinds}."
        )
    if not any(jnp.issubdtype(dtype, KINDS[kind]) for kind in wanted.kinds):
        found = f"`{name}` is {dtype} of shape {_text(shape)}"
        raise UserError(
            f"{found}; expected {kinds} {wanted}.{_mend_kind(name, x, wanted)}"
        )


def _mend_kind(name: str, x: Any, wanted: _Wanted) -> str:
    of_integers = jnp.issubdtype(x.dtype, jnp.integer)
    if wanted.kinds == ["bool"] and of_integers:
        return (
            f" Of 0 and 1 it is {name}.astype(bool); of labels, labels != -100; of "
            "lengths, jnp.arange(T) < lengths[:, None]."
        )
    if "float" in wanted.kinds and of_integers:
        return f" If these are the numbers, give {name}.astype(jnp.float32)."
    return " Is another array in its place?"


def _misfit(name: str, shapes: _Shapes, anchor: str, sizes: Mapping[str, Any]) -> str:
    shape, wanted = shapes[name]
    text = f"`{name}` has shape {_text(shape)}; expected {wanted}"
    if name == anchor:
        if wanted.leading == "+":
            return (
                f"{text}, the numbers of tokens, with an axis or more before T: sums "
                "over responses cannot be told from the tokens of one. Give the "
                "numbers of the tokens; those of a single sequence as x[None]."
            )
        return f"{text}."
    whole, own = shapes[anchor]
    expected = wanted.known(sizes)
    if expected == str(wanted):
        return f"{text}."
    text += f" = {expected}, since `{anchor}` has {own} = {_text(whole)}."
    one_each = wanted.names and shape in (whole[:-1], (*whole[:-1], 1))
    if not one_each or str(own) != str(wanted):
        return text
    if "logps" in name or name.split(".")[0] in ("policy", "ref"):
        return f"{text} Sums over responses will not do: give those of the tokens."
    spread = f"{name}[..., None]" if shape == whole[:-1] else name
    return (
        f"{text} A number of each response is given to all its tokens by "
        f"jnp.broadcast_to({spread}, {anchor}.shape)."
    )


def _text(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def check_range(
    name: str,
    value,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    closed_high: bool = False,
) -> None:
    """Refuses a Python number outside of [low, high), or as the two switches say.

    A traced value is let through, which is not known while the program is made; and so
    is None, which stands for no such number.

    Args:
      name: Of the argument.
      value: What was given.
      low: The lower end.
      high: The upper end.
      open_low: Whether the lower end itself is refused.
      closed_high: Whether the upper end itself will do.

    Raises:
      UserError: It is not in the range.

    >>> check_range("beta", 0.1, 0, float("inf"), open_low=True)
    """
    if not isinstance(value, int | float):
        return
    above = low < value if open_low else low <= value
    below = value <= high if closed_high else value < high
    if not (above and below):
        left, right = "(" if open_low else "[", "]" if closed_high else ")"
        raise UserError(f"{name} must be in {left}{low}, {high}{right}, got {value}")


def check_positive(name: str, value, *, infinite: bool = False) -> None:
    """Refuses a Python number that is not positive, or not finite.

    >>> check_positive("beta", 0.1)
    """
    check_range(name, value, 0, float("inf"), open_low=True, closed_high=infinite)


def check_not_negative(name: str, value) -> None:
    """Refuses a Python number that is negative or not finite.

    >>> check_not_negative("alpha", 0)
    """
    check_range(name, value, 0, float("inf"))
