"""The quick grid of an experiment, twice."""

import pathlib
import sys

import jax

from experiments.runner import Experiment, main, read_rows


def assert_twice_the_same(experiment: Experiment, folder: pathlib.Path) -> list[dict]:
    """Runs it twice from nothing, and gives the rows without their times."""
    found = []
    for name in ("one", "two"):
        _forget(experiment)
        with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
            assert main(experiment, ["--out", str(folder / name), "--quick"]) == 0
        rows = read_rows(folder / name / "results.csv")
        found.append([{k: v for k, v in x.items() if k != "wall_s"} for x in rows])
    assert found[0] == found[1]
    return found[0]


def _forget(experiment: Experiment) -> None:
    """Empties what the modules of an experiment keep of what they trained."""
    package = experiment.run.__module__.rpartition(".")[0]
    for name, module in list(sys.modules.items()):
        if name.startswith(package):
            for value in vars(module).values():
                if hasattr(value, "cache_clear") and hasattr(value, "cache_info"):
                    value.cache_clear()
