"""Losses at the same KL divergence, from a sweep of each over its strength."""

import itertools
import math

from experiments.results import Row

TARGETS = (0.15, 0.6)


def at_matched_kl(rows: list[Row]) -> list[Row]:
    """Efficiency of each loss and seed at each KL that its sweep passes through."""
    sweeps: dict[tuple, list[Row]] = {}
    for row in rows:
        if row["part"] == "sweep":
            sweeps.setdefault((row["arm"], row["data_seed"]), []).append(row)
    return [
        {
            "part": "matched",
            "arm": arm,
            "data_seed": seed,
            "kl_wanted": kl,
            "matched_efficiency": found,
        }
        for (arm, seed), runs in sweeps.items()
        for kl in TARGETS
        if (found := efficiency_at(runs, kl)) is not None
    ]


def efficiency_at(runs: list[Row], kl: float) -> float | None:
    """Between the two strengths on either side, linearly in log KL.

    Where a sweep passes a KL twice, the better of the two counts: who tunes a strength
    would take it.
    """
    found = []
    runs = sorted(runs, key=lambda row: row["strength"])
    for one, other in itertools.pairwise(runs):
        low, high = sorted((one, other), key=lambda row: row["kl"])
        if 0 < low["kl"] <= kl <= high["kl"] and low["kl"] < high["kl"]:
            part = math.log(kl / low["kl"]) / math.log(high["kl"] / low["kl"])
            rise = high["efficiency"] - low["efficiency"]
            found.append(low["efficiency"] + part * rise)
    return max(found, default=None)


def gains(matched: list[Row], over: str = "dpo") -> list[Row]:
    """What a loss has more than DPO on the same pairs, at the same KL."""
    base = {
        (row["data_seed"], row["kl_wanted"]): row["matched_efficiency"]
        for row in matched
        if row["arm"] == over
    }
    return [
        {
            "part": "gain",
            "arm": row["arm"],
            "data_seed": row["data_seed"],
            "kl_wanted": row["kl_wanted"],
            "gain_over_dpo": row["matched_efficiency"] - base[key],
        }
        for row in matched
        if row["arm"] != over and (key := (row["data_seed"], row["kl_wanted"])) in base
    ]
