"""The time that a run's chat templates read, fixed at its start and kept in its folder.

A run that is resumed on another day reads the same rows, also where a template writes
the date into them.
"""

from pathlib import Path

from jaxalign.data.text.clock import fix_clock
from jaxalign.recipes.flags.config import TrainingConfig
from jaxalign.training.folder.earlier import recorded_fingerprints

KEY = "template_time"


def start_template_time(config: TrainingConfig) -> dict[str, str]:
    """Fixes what templates read from now on: as the flag says, or as the run began.

    Returns:
      What belongs to the run's fingerprints: the time under its name; nothing for a
      run of a version that recorded none, so that it can be gone on with.
    """
    starts = recorded_fingerprints(Path(config.output_dir))
    recorded = [x[KEY] for x in starts if isinstance(x.get(KEY), str)]
    # That of the last start: a change that was accepted holds from then on.
    time = fix_clock(config.template_time or next(iter(recorded[-1:]), None))
    # A fingerprint that no start has recorded would count as changed.
    return {KEY: time} if recorded or not starts else {}
