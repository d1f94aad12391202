"""Plans as commands, and a file that keeps what they answered.

Each line of the file is asked for once: a run that was stopped goes on where it was.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.benchmarks.plans.models import write_models

KEPT = ("name", "planned_for", "fits", "bytes", "compile_seconds", "largest_arrays")
KEPT += ("collectives", "in_loops", "suspicious", "compiler_says")
"""What is kept of each program."""


class Plans:
    """Plans by name, in a JSON file."""

    def __init__(self, out: Path):
        """Reads what the file holds already; models are written beside it."""
        self._out, self._models = out, out.parent / "models"
        self.found: dict[str, Any] = {}
        if out.exists():
            self.found = json.loads(out.read_text())
        write_models(self._models)

    def ask(self, name: str, command: str) -> dict[str, Any]:
        """What `jaxalign plan` says to the words behind it; a model is named there.

        Args:
          name: Of the line.
          command: Such as `sft --model llama3_8b --topology v5e:4x4`.
        """
        if name in self.found:
            return self.found[name]
        print(f"{name}: jaxalign plan {command}", flush=True)
        words = [
            str(self._models / x) if (self._models / x).is_dir() else x
            for x in command.split()
        ]
        run = subprocess.run(
            [sys.executable, "-m", "jaxalign", "plan", *words, "--json"],
            stdout=subprocess.PIPE,
            check=False,
            text=True,
        )
        found = {"command": f"jaxalign plan {command}", "code": run.returncode}
        if run.stdout.strip():
            plan = json.loads(run.stdout)
            found |= {"fits": plan["fits"], "devices": plan["devices"]}
            found["programs"] = [
                {key: x[key] for key in KEPT if key in x} for x in plan["programs"]
            ]
        self.found[name] = found
        self._out.write_text(json.dumps(self.found, indent=1) + "\n")
        return found
