"""How far updates on eight devices are from those on one: a table.

    python -m tests.parallel.differences

A tiny transformer in float32, one step of plain gradient descent with two microbatches;
each number is the largest difference of a parameter divided by the largest change that
the update makes, for each kind of training and each mesh. Expected: rounding, at most
1e-4. About three minutes on two CPU cores.
"""

import argparse

import jax
import numpy as np

from tests.parallel import test_updates as updates
from tests.parallel.tasks import TASKS, state_of


def largest(tree) -> float:
    return max(float(np.abs(x).max()) for x in jax.tree.leaves(tree))


def difference(task: str, sizes: dict[str, int] | None) -> float:
    """Of the parameters after a step; without sizes: of pmap's."""
    if sizes is None:
        state, _ = updates.on_pmap(task)
    else:
        compiled, *arguments = updates.on_mesh(task, sizes)
        state, _ = compiled(*arguments)
    before = jax.device_get(state_of(updates.setup(task)[2]).params)
    expected, _ = updates.single_device_update(task)
    got = jax.device_get(state.params)
    change = largest(jax.tree.map(np.subtract, expected, before))
    return largest(jax.tree.map(np.subtract, got, expected)) / change


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    meshes = [*updates.MESHES, None]
    names = ["pmap 8" if x is None else _name(x) for x in meshes]
    print(f"| | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")
    for task in TASKS:
        cells = (f"{difference(task, x):.1e}" for x in meshes)
        print(f"| {task} | {' | '.join(cells)} |", flush=True)


def _name(sizes: dict[str, int]) -> str:
    return " x ".join(f"{axis} {count}" for axis, count in sizes.items())


if __name__ == "__main__":
    main()
