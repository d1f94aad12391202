"""`jaxalign plan`: what a run needs on a machine that is not there."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.recipes.planning.report import text_of
from jaxalign.recipes.planning.topology import EXAMPLES, environment

RECIPES = ("sft", "reward", "dpo", "kto", "distill", "ppo", "grpo", "online")
FLAGS = ("topology", "num_slices", "suggest", "json")
"""Flags of `plan` itself; all others are the recipe's."""
DOES_NOT_FIT = 2

USAGE = f"""usage: jaxalign plan RECIPE --model FOLDER --topology NAME [flags]

Compiles the programs of `jaxalign RECIPE` for a machine that is not there, and says
what they hold, send and need. RECIPE is one of {", ".join(RECIPES)}; FOLDER
needs no more than a config.json, and no data is read.

  --topology NAME   a chip and the sides of the slice: {EXAMPLES}
  --num-slices N    several such slices, joined by the axis data
  --suggest         try meshes, --remat and --microbatch-size until the run fits
  --json            print JSON in place of a table

All other flags are those of `jaxalign RECIPE` (see its --help). Exit code 2: it does
not fit."""


def command_line(argv: list[str]) -> int:
    """Runs `jaxalign plan`; returns the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    order = order_of(argv)
    # Only this process needs it: the other one's `Order` has no such field.
    as_json = order.pop("json")
    found = asked(order)
    if "error" in found:
        raise UserError(found["error"])
    print(json.dumps(found, indent=2) if as_json else text_of(found))
    return DOES_NOT_FIT if found["fits"] is False else 0


def order_of(argv: list[str]) -> dict[str, Any]:
    """The flags of `plan` itself, and those of the recipe with what it must have."""
    name, *rest = argv
    if name not in RECIPES:
        raise UserError(
            f"jaxalign plan {name}: there is no such recipe to plan. Write one of "
            f"{', '.join(RECIPES)} behind `plan`, and its flags behind that."
        )
    options: dict[str, str] = {}
    flags: list[str] = []
    switches = {"json": False, "suggest": False}
    words = iter(rest)
    for word in words:
        key, eq, value = word.removeprefix("--").partition("=")
        if key in switches and word.startswith("--"):
            switches[key] = True
        elif key in ("topology", "num-slices") and word.startswith("--"):
            found = value if eq else next(words, None)
            if not found:
                raise UserError(f"--{key} needs a value behind it.")
            options[key] = found
        else:
            flags.append(word)
    if "topology" not in options:
        raise UserError(f"plan needs --topology: a machine, such as {EXAMPLES}.")
    slices = options.get("num-slices", "1")
    if not slices.isdecimal() or slices == "0":
        raise UserError(f"--num-slices must be 1 or more, got {slices}.")
    return {
        "recipe": name,
        "argv": with_defaults(name, flags, options["topology"]),
        "topology": options["topology"],
        "slices": int(slices),
        **switches,
    }


def with_defaults(name: str, flags: list[str], topology: str) -> list[str]:
    """The recipe's flags, with something where it needs what no plan reads.

    >>> with_defaults("sft", ["--model", "m"], "v5e:1x1")[2:4]
    ['--data', 'none']
    """
    given = {word.split("=")[0].replace("_", "-") for word in flags}
    # The recipe demands them, and a plan never reads them.
    wanted = {"--data": "none", "--output-dir": "none"}
    if name in ("ppo", "grpo", "online"):
        wanted["--reward"] = "none"
    more = [
        x for flag, value in wanted.items() if flag not in given for x in (flag, value)
    ]
    return [*flags, *more]


def asked(order: dict[str, Any]) -> dict[str, Any]:
    """The answer to an order, from a process of its own.

    Raises:
      UserError: The process ended without one.
    """
    # XLA reads flags when it is loaded, so the compiler needs a process of its own.
    # What is read from a cache of programs does not tell what it needs.
    env = environment(order["topology"]) | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    with tempfile.TemporaryDirectory(prefix="jaxalign-plan-") as name:
        folder = Path(name)
        (folder / "order.json").write_text(json.dumps(order))
        command = [sys.executable, "-m", "jaxalign.recipes.planning"]
        command += [str(folder / x) for x in ("order.json", "answer.json")]
        with (folder / "noise").open("w+") as noise:
            code = _followed(command, env, noise)
            noise.seek(0)
            said = noise.read().strip()
        if (folder / "answer.json").exists():
            return json.loads((folder / "answer.json").read_text())
    # Killed: what the system does to the largest process when memory is out.
    if code == -9:
        raise UserError(
            "The process that compiles was killed, most likely because this machine "
            "has too little memory for a program of this size. Plan on a larger one."
        )
    # What tyro ends with where it refuses a flag; the noise is what it said.
    if code == 2:
        raise UserError(said)
    raise UserError(
        f"The process that compiles ended with code {code} and no answer. Its last "
        f"words: {said[-600:] or 'none'}"
    )


def _followed(command: list[str], env: dict[str, str], noise: Any) -> int:
    """Runs a process, passes on what it says, and returns how it ended."""
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=noise, text=True
    ) as child:
        try:
            assert child.stdout is not None
            for line in child.stdout:
                print(line, end="", file=sys.stderr, flush=True)
            return child.wait()
        finally:
            # Ctrl-C must not leave a compilation behind that takes many GB.
            child.kill()
