"""The time that a run's chat templates read, fixed at its start and kept in its folder.

A run that is resumed on another day reads the same rows, also where a template writes
the date into them.
"""

import json
from pathlib import Path

from jaxalign.data.text.clock import fix_clock
from jaxalign.recipes.config import TrainingConfig

KEY = "template_time"


def start_template_time(config: TrainingConfig) -> dict[str, str]:
    """Fixes what templates read from now on: as the flag says, or as the run began.

    Returns:
      What belongs to the run's fingerprints: the time under its name; nothing for a
      run of a version that recorded none, so that it can be gone on with.
    """
    starts = _starts(Path(config.output_dir) / "run.json")
    recorded = [x[KEY] for x in starts if isinstance(x.get(KEY), str)]
    time = fix_clock(config.template_time or next(iter(recorded[-1:]), None))
    return {KEY: time} if recorded or not starts else {}


def _starts(file: Path) -> list[dict[str, str]]:
    """The fingerprints of each start of a run; what is wrong is found by its folder."""
    try:
        starts = json.loads(file.read_text(encoding="utf-8"))["starts"]
        return [dict(start["fingerprints"]) for start in starts]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
