"""An order for a plan, carried out: one run, or the cheapest settings that fit."""

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jaxalign.recipes.flags.command_line import parse_command
from jaxalign.recipes.planning.chips import chip_of
from jaxalign.recipes.planning.measured import measured
from jaxalign.recipes.planning.topology import devices_of

REMAT = ("dots", "up", "mlp", "full")
"""From what keeps most of a layer to what keeps least."""


class Order(NamedTuple):
    """What is asked.

    Attributes:
      recipe: A command that trains.
      argv: Its flags.
      topology: The machine.
      slices: How many of them.
      suggest: Look for the cheapest settings that fit.
    """

    recipe: str
    argv: list[str]
    topology: str
    slices: int = 1
    suggest: bool = False


def carry_out(order: Order, tell: Callable[[str], None]) -> dict[str, Any]:
    """Compiles what is asked for; JSON data."""
    devices = devices_of(order.topology, order.slices)
    kind = devices[0].device_kind
    head = {"recipe": order.recipe, "topology": order.topology, "chip": kind}
    head |= {"devices": len(devices), "flags": order.argv}
    chip = chip_of(kind)
    if chip is not None:
        head["memory_of_a_device"] = int(chip.memory)
    if not order.suggest:
        return head | _run(order, order.argv, devices, tell)
    tried = []
    for flags in candidates(order.argv, len(devices)):
        tell(f"trying {' '.join(flags)}")
        found = _run(order, [*order.argv, *flags], devices, tell)
        # A program that the compiler refused may come without numbers.
        peak = max(p.get("bytes", {}).get("peak", 0) for p in found["programs"])
        tried.append({"flags": flags, "fits": found["fits"], "peak": peak})
        if found["fits"]:
            return head | found | {"tried": tried, "suggestion": flags}
    return head | {"fits": False, "programs": [], "tried": tried}


def candidates(argv: list[str], devices: int) -> Iterator[list[str]]:
    """Settings from the cheapest on: what is given already stays as it is.

    Splitting matrices costs an exchange in each layer, computing anew costs
    arithmetic, and smaller microbatches repeat gathers: in this order.

    >>> [x[:2] for x in candidates(["--remat", "full", "--microbatch-size", "1"], 2)]
    [['--mesh.fsdp', '2'], ['--mesh.fsdp', '1']]
    """
    # `--a_b=1` and `--a-b 1` name one flag.
    given = {x.split("=")[0].removeprefix("--").replace("_", "-") for x in argv}
    meshes: list[list[str]] = [[]]
    # The axes belong together: whoever gave one gets the mesh that was asked for.
    if not {x for x in given if x.startswith("mesh.")}:
        splits = [n for n in range(1, devices + 1) if not devices % n]
        meshes = [
            ["--mesh.fsdp", str(devices // n), "--mesh.tensor", str(n)]
            # As many as a power of two has, so that odd numbers of devices try no more.
            for n in splits[: int(math.log2(devices)) + 1]
        ]
    sizes = [[]] if "microbatch-size" in given else [[], ["--microbatch-size", "1"]]
    remats = [[]] if "remat" in given else [["--remat", name] for name in REMAT]
    for mesh in meshes:
        for size in sizes:
            for remat in remats:
                yield [*mesh, *remat, *size]


def _run(order: Order, argv: list[str], devices, tell) -> dict[str, Any]:
    from jaxalign.recipes.planning.sampling import sampling_programs
    from jaxalign.recipes.planning.training import refuse_pmap, training_programs
    from jaxalign.recipes.rl.config import RLConfig

    recipe = importlib.import_module(f"jaxalign.recipes.{order.recipe}")
    # `dpo` alone has one: its --loss decides which flags there are.
    choose = getattr(recipe, "config_class", lambda argv: recipe.Config)
    config = parse_command(choose(argv), argv, prog=f"jaxalign plan {order.recipe}")
    refuse_pmap(config)
    programs = training_programs
    if isinstance(config, RLConfig):
        programs = sampling_programs
    chip = chip_of(devices[0].device_kind)
    found = [
        measured(planned, chip, tell)
        for planned in programs(order.recipe, config, devices)
    ]
    verdicts = [x["fits"] for x in found]
    # One program of which it is not known may be the one that is too large.
    fits = None if None in verdicts else all(verdicts)
    return {"fits": fits, "programs": found}
