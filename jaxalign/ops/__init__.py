"""Arrays in, arrays out: log-probabilities, masked means and what losses stand on."""

from jaxalign.ops.advantages import (
    batch_baseline_advantages,
    centered_group_advantages,
    greedy_baseline_advantages,
    group_advantages,
    moving_baseline,
    rloo_advantages,
)
from jaxalign.ops.aggregate import (
    fixed_length,
    sequence_mean,
    sequence_sum,
    token_mean,
)
from jaxalign.ops.baselines import (
    batch_scaled_advantages,
    decoupled_group_advantages,
    length_weighted_advantages,
    optimal_token_advantages,
    token_energies,
)
from jaxalign.ops.best_of_n import best_of_n, best_of_n_kl_bound, expected_best_of_n
from jaxalign.ops.bootstrap import bootstrap_interval, bootstrap_statistic
from jaxalign.ops.calibration import (
    Reliability,
    RiskCoverage,
    auroc,
    brier_score,
    equal_mass_bins,
    equal_width_bins,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from jaxalign.ops.checks import check_arrays
from jaxalign.ops.chunked import chunked_stats
from jaxalign.ops.chunked_kl import Divergences, chunked_jsd, chunked_kl
from jaxalign.ops.control import (
    adaptive_entropy_update,
    adaptive_kl_update,
    fixed_kl_update,
)
from jaxalign.ops.decode_matmul import rows_times
from jaxalign.ops.fused import fused_token_loss
from jaxalign.ops.kl import kl_exact, kl_k1, kl_k2, kl_k3, kl_k3_k2
from jaxalign.ops.layout import (
    Layout,
    constrain,
    current_layout,
    current_platform,
    few_times_weight,
    laid_out,
    split_positions,
    weight_times,
)
from jaxalign.ops.logps import TokenStats, sequence_logps, token_logps, token_stats
from jaxalign.ops.reduce import Mean, SumOfMeans, masked, sum_dtype, sum_of_means
from jaxalign.ops.returns import decoupled_gae, gae, reward_to_go
from jaxalign.ops.safe_exp import capped_exp, log1mexp
from jaxalign.ops.whitening import (
    Moments,
    masked_rescale,
    masked_whiten,
    reinforce_pp_advantages,
)

__all__ = [
    "Divergences",
    "Layout",
    "Mean",
    "Moments",
    "Reliability",
    "RiskCoverage",
    "SumOfMeans",
    "TokenStats",
    "adaptive_entropy_update",
    "adaptive_kl_update",
    "auroc",
    "batch_baseline_advantages",
    "batch_scaled_advantages",
    "best_of_n",
    "best_of_n_kl_bound",
    "bootstrap_interval",
    "bootstrap_statistic",
    "brier_score",
    "capped_exp",
    "centered_group_advantages",
    "check_arrays",
    "chunked_jsd",
    "chunked_kl",
    "chunked_stats",
    "constrain",
    "current_layout",
    "current_platform",
    "few_times_weight",
    "decoupled_gae",
    "equal_mass_bins",
    "equal_width_bins",
    "decoupled_group_advantages",
    "expected_best_of_n",
    "expected_calibration_error",
    "fixed_kl_update",
    "fixed_length",
    "fused_token_loss",
    "gae",
    "greedy_baseline_advantages",
    "group_advantages",
    "kl_exact",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "kl_k3_k2",
    "laid_out",
    "length_weighted_advantages",
    "log1mexp",
    "masked",
    "masked_rescale",
    "masked_whiten",
    "moving_baseline",
    "optimal_token_advantages",
    "reinforce_pp_advantages",
    "reliability",
    "reward_to_go",
    "risk_coverage",
    "rloo_advantages",
    "rows_times",
    "sequence_logps",
    "sequence_mean",
    "sequence_sum",
    "split_positions",
    "sum_dtype",
    "sum_of_means",
    "token_energies",
    "token_logps",
    "token_mean",
    "token_stats",
    "weight_times",
]
