"""How far stated confidences can be trusted."""

from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxalign.ops import (
    Reliability,
    auroc,
    brier_score,
    equal_mass_bins,
    equal_width_bins,
    expected_calibration_error,
    risk_coverage,
)
from jaxalign.recipes.evaluation.measure import Estimator, Measure

Diagrams: TypeAlias = dict[str, list[dict[str, float]]]
"""`equal_width`, `equal_mass`: bins that hold something; `risk_coverage`: points."""

_STATISTICS = {
    "ece_equal_width": lambda *x: expected_calibration_error(equal_width_bins(*x)),
    "ece_equal_mass": lambda *x: expected_calibration_error(equal_mass_bins(*x)),
    "brier": lambda *x: brier_score(*x).value,
    "auroc": auroc,
    "risk_coverage_area": lambda *x: risk_coverage(*x).area,
}


def calibration(
    estimator: Estimator, confidence: np.ndarray, right: np.ndarray
) -> tuple[dict[str, Measure], Diagrams]:
    """Calibration errors, Brier score, AUROC and risk-coverage, with intervals.

    A row's samples stay together when rows are redrawn.

    Args:
      estimator: For the intervals.
      confidence: `[rows, samples]`, NaN where none is stated.
      right: The same shape, bool.

    Returns:
      The measures, none where no confidence is stated; and what is drawn.
    """
    kept = ~np.isnan(confidence).all(axis=1)
    if not kept.any():
        return {}, {}
    confidence, right = confidence[kept], right[kept]
    there = ~np.isnan(confidence)
    arrays = (
        jnp.asarray(np.where(there, confidence, 0.0), jnp.float32),
        jnp.asarray(right),
        jnp.asarray(there),
    )
    found = {
        f"calibration/{name}": estimator.statistic(f"calibration/{name}", f, *arrays)
        for name, f in _STATISTICS.items()
    }
    # Drawn without intervals, for which alone samples stay in their rows.
    return found, _diagrams(*(x[arrays[2]] for x in arrays))


def _diagrams(*arrays: Any) -> Diagrams:
    curve = risk_coverage(*arrays)
    return {
        "equal_width": _bins(equal_width_bins(*arrays)),
        "equal_mass": _bins(equal_mass_bins(*arrays)),
        "risk_coverage": [
            {"coverage": float(x), "risk": float(y)}
            for x, y in zip(curve.coverage, curve.risk, strict=True)
        ],
    }


def _bins(bins: Reliability) -> list[dict[str, float]]:
    columns = (np.asarray(x, float) for x in bins)
    return [
        {"count": n, "confidence": q / n, "accuracy": right / n}
        for n, q, right in zip(*columns, strict=True)
        if n > 0
    ]
