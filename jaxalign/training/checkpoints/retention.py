"""The rules by which old checkpoints are kept or removed."""

import re
from collections.abc import Iterable, Mapping

from jaxalign.errors import UserError

_BEST = re.compile(r"(min|max):(.+)")


class Retention:
    """The newest few, every so-many-th, and the best."""

    def __init__(self, keep_last: int, keep_period: int | None, best: str | None):
        """Refuses values that mean nothing."""
        if keep_last < 1:
            raise UserError(f"keep_last must be at least 1, got {keep_last}")
        if keep_period is not None and keep_period < 1:
            raise UserError(f"keep_period must be at least 1, got {keep_period}")
        if best is not None and not _BEST.fullmatch(best):
            raise UserError(f"best must be min:METRIC or max:METRIC, got {best!r}")
        self._last, self._period = keep_last, keep_period
        self._best = _BEST.fullmatch(best or "")

    def superseded(
        self, metrics: Mapping[int, Mapping[str, float]], newest: int
    ) -> Iterable[int]:
        """Those of the steps in `metrics` that no rule keeps; never `newest`.

        >>> rules = Retention(1, None, "min:loss")
        >>> rules.superseded({1: {"loss": 0.5}, 2: {"loss": 0.9}, 3: {"loss": 0.7}}, 3)
        [2]
        """
        keep = {newest, *sorted(metrics)[-self._last :]}
        if self._period:
            keep |= {step for step in metrics if step % self._period == 0}
        if self._best:
            mode, name = self._best.groups()
            sign = 1 if mode == "max" else -1
            known = {k: sign * m[name] for k, m in metrics.items() if name in m}
            if known:
                # Of equal ones the newest.
                keep.add(max(known, key=lambda step: (known[step], step)))
        return [step for step in metrics if step not in keep]
