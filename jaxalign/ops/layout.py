"""Where the axes of activations lie: named here and above, decided by who runs it.

A model or an operation says what the axes of an array *are* (rows, width, heads); the
table of a `Layout` says over which axes of a mesh each of them is split. Without a
layout, and inside `shard_map` and `pmap`, nothing is said and nothing changes.
"""

import contextlib
import contextvars
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_CURRENT: contextvars.ContextVar["Layout | None"] = contextvars.ContextVar(
    "layout", default=None
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh, and which of its axes split which axis of an activation.

    Attributes:
      mesh: The devices.
      table: `(name, mesh axes)` pairs.
    """

    mesh: Mesh
    table: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, mesh: Mesh, table: Mapping[str, Sequence[str]]) -> "Layout":
        """A layout that can be a static argument, from a plain table."""
        return cls(mesh, tuple((name, tuple(axes)) for name, axes in table.items()))

    def axes(self, name: str | None, size: int) -> tuple[str, ...]:
        """The mesh axes that split an axis of this name and size.

        As many of the table's as divide the size; what is left over stays whole on
        each device, such as 3 heads on 2 devices.
        """
        axes = dict(self.table)[name] if name is not None else ()
        axes = tuple(a for a in axes if self.mesh.shape.get(a, 1) > 1)
        while size % math.prod(self.mesh.shape[a] for a in axes):
            axes = axes[:-1]
        return axes

    def spec(self, shape: Sequence[int], *names: str | None) -> PartitionSpec:
        """How an array of this shape, with an axis of each name, is split."""
        each = (self.axes(name, n) for name, n in zip(names, shape, strict=True))
        return PartitionSpec(*(axes or None for axes in each))

    def place(self, x: jax.Array, *names: str | None) -> jax.Array:
        """`x`, split as its names say."""
        place = NamedSharding(self.mesh, self.spec(x.shape, *names))
        return jax.lax.with_sharding_constraint(x, place)

    def place_rows(self, x: jax.Array) -> jax.Array:
        """`x` with its first axis split as rows, and the others as they come."""
        free = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
        spec = PartitionSpec(self.axes("rows", x.shape[0]) or None, *free)
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, spec))

    def parts(self, name: str) -> int:
        """Into how many parts an axis of this name is split, if its size allows."""
        return math.prod(self.mesh.shape.get(a, 1) for a in dict(self.table)[name])

    @property
    def platform(self) -> str:
        """Of the devices: `cpu`, `gpu` or `tpu`."""
        return self.mesh.devices.flat[0].platform


@contextlib.contextmanager
def laid_out(layout: Layout | None) -> Iterator[None]:
    """What is traced inside is split as the layout says.

    It must be open while a function is traced: inside what `jax.jit` compiles, not
    around the call of something that may be compiled already.

    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> with laid_out(Layout.of(mesh, {"rows": ("data",)})):
    ...     print(constrain(jax.numpy.ones(2), "rows"))
    [1. 1.]
    """
    token = _CURRENT.set(layout)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_layout() -> Layout | None:
    """The layout in force; None on one device and where the mesh is mapped over."""
    layout = _CURRENT.get()
    if layout is None or layout.mesh.size == 1:
        return None
    return None if jax.sharding.get_abstract_mesh().manual_axes else layout


def current_platform() -> str:
    """What the program is compiled for: the mesh decides, not this process."""
    layout = _CURRENT.get()
    return jax.default_backend() if layout is None else layout.platform


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """An activation with its axes named; None is an axis that is never split."""
    layout = current_layout()
    return x if layout is None else layout.place(x, *names)


def split_positions() -> bool:
    """Whether the layout in force splits rows along their positions."""
    layout = current_layout()
    return layout is not None and layout.parts("positions") > 1


def stored(names: Sequence[str | None]) -> tuple[str | None, ...]:
    """The names of a parameter's axes as it lies between its uses.

    Its axis "width" is then split as "stored" says, which as an activation is whole.
    """
    return tuple("stored" if name == "width" else name for name in names)


def weight_times(x: jax.Array, kernel: jax.Array, *names: str) -> jax.Array:
    """The product x W with W gathered for it, and its gradient scattered again.

    Left to itself the compiler may as well gather the rows and leave W where it is. On
    the way back W is gathered anew: kept, it would be there for all layers at once.

    Args:
      x: `[N, in]`, or with more axes before the last.
      kernel: `[in, out]`, cast to the type of `x` before it travels.
      *names: Of the kernel's axes; one of them is "width".

    Returns:
      `[N, out]` of the type of `x`, or with those axes.

    >>> weight_times(jax.numpy.ones((1, 2)), jax.numpy.ones((2, 1)), "width", "inner")
    Array([[2.]], dtype=float32)
    """
    layout = current_layout()
    if layout is None:
        return jnp.dot(x, kernel.astype(x.dtype))
    return _weight_times(layout, names, x, kernel)


def few_times_weight(product, x: jax.Array, kernel: jax.Array, *names: str):
    """The product of few rows with W, which stays where it lies: the rows travel.

    Args:
      product: `(x, kernel) -> [N, out]`.
      x: `[N, in]`, a token of each row.
      kernel: `[in, out]`, or `[out, in]` if `product` takes it so.
      *names: Of the axes `in` and `out`.

    Returns:
      `[N, out]`, its rows split as those of `x`.
    """
    y = product(constrain(x, "group", stored(names)[0]), kernel)
    if names[1] == "width":
        y = constrain(y, "group", "stored")  # else the kernel would be gathered
    return constrain(y, "rows", names[1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _weight_times(layout: Layout, names: tuple[str, ...], x, kernel):
    return jnp.dot(x, layout.place(kernel.astype(x.dtype), *names))


def _weight_times_forward(layout, names, x, kernel):
    return _weight_times(layout, names, x, kernel), (x, kernel)


def _weight_times_backward(layout, names, residuals, ct):
    x, kernel = residuals
    gathered = layout.place(kernel.astype(x.dtype), *names)
    d_kernel = layout.place(jnp.einsum("...i,...o->io", x, ct), *stored(names))
    return jnp.einsum("...o,io->...i", ct, gathered), d_kernel.astype(kernel.dtype)


_weight_times.defvjp(_weight_times_forward, _weight_times_backward)
