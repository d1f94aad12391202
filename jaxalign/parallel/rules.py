"""Partition rules: `(path regex, PartitionSpec)` data, matched against a state."""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Rules = Sequence[tuple[str, PartitionSpec]]


def match_rules(rules: Rules, path: str) -> PartitionSpec:
    """The spec of the first rule whose regex is found in `path`.

    Raises:
      ValueError: If none is; end a table with `(".*", PartitionSpec())`.

    >>> rules = [("kernel$", PartitionSpec("fsdp")), (".*", PartitionSpec())]
    >>> match_rules(rules, "query/bias") == PartitionSpec()
    True
    """
    for pattern, spec in rules:
        if re.search(pattern, path):
            return spec
    raise ValueError(f"no partition rule matches {path!r}")


def shardings(rules: Rules, mesh: Mesh, tree: Any) -> Any:
    """A sharding for each leaf of `tree`, by the path of the leaf.

    Optimizer state holds trees of the same paths as the parameters, so one table
    serves a whole training state. An axis that does not divide the leaf's dimension
    (a head count of 3 over 2 devices) is left unsplit there, as are scalars.

    Args:
      rules: Tried in order, the first match counts.
      mesh: Whose axes the specs name.
      tree: Arrays or `jax.ShapeDtypeStruct`s.

    Returns:
      The same tree of `NamedSharding`s.
    """

    def one(path, leaf):
        spec = match_rules(rules, path_name(path)) if leaf.ndim else PartitionSpec()
        return NamedSharding(mesh, _that_divides(spec, leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(one, tree)


def path_name(path) -> str:
    """A tree path with `/` between its parts: `layers/attention/query/kernel`."""
    return "/".join(re.sub(r"[\[\]'.]", "", str(part)) for part in path)


def _that_divides(spec: PartitionSpec, shape, mesh: Mesh) -> PartitionSpec:
    def size(axes):
        names = axes if isinstance(axes, tuple) else (axes,)
        return math.prod(mesh.shape[a] for a in names)

    # An optimizer's state may have fewer axes than its parameter, as Adafactor's has.
    if len(spec) > len(shape):
        return PartitionSpec()
    return PartitionSpec(
        *(
            axes if axes is not None and not n % size(axes) else None
            for axes, n in zip(spec, shape, strict=False)
        )
    )
