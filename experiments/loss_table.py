"""Writes `jaxalign/losses/README.md` and its plot from docstrings and signatures.

Command: `python -m experiments.loss_table`, half a minute on a CPU. With `--check`
nothing is written, and an outdated page ends with exit code 1.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign import losses, ops
from jaxalign.losses import Pair, is_batch_coupled
from jaxalign.objectives import RUNNING
from jaxalign.recipes.flags.loss_flags import find_loss, losses_on, pairwise_losses

FOLDER = Path(losses.__file__).parent
PLOT = "pairwise_losses.png"
HEAD = f"""# Losses

Written by `python -m experiments.loss_table` from the docstrings and signatures of this
folder: change those, and run it again.

{{notation}}

Every loss returns sums (`LossOutput`), exact over any split into microbatches and
devices unless it is *batch-coupled*. Those of the first two tables are
also `jaxalign dpo --loss NAME`, with their hyperparameters as flags.

![Pairwise losses and their gradient weights]({PLOT})

Each loss over the margin D = h(y_w) − h(y_l) at its defaults, and the weight with which
its gradient raises the margin; h(y_w) = D/2 = −h(y_l), one token a response. What else
a loss reads is neutral there: divergences, shift and usual margin 0, a weight of 1 for
each pair, and a chosen response that is better by 1 and always wins.
"""

PIECES_HEAD = """## Pieces

A loss that is not in these tables is a product of the same pieces: its formula in three
lines, as README shows. Arrays are checked, reference and old log-probabilities lose
their gradient, and the mean travels as two sums, whatever the product.

- **Preference**: `sum_pairs`, a *reward* for each response, a *link* from the
  difference of rewards to a cost, perhaps *label noise* and a *weight*, `pair_output`.
  Rewards are β times a log-ratio (`Pairs.rewards`), a divergence of it, or any function
  of `Responses` (`Pairs.each`): per token (`mean_log_ratios`), without a reference
  (`logps`, `mean_logps`), with `token_weights`.
- **Policy gradient**: `sampled_tokens`, the *level* of the ratios, a *surrogate*, an
  *aggregation* and a *KL term*, `policy_output`. Times `tokens.ratio` a KL term fits
  tokens of an older policy too.
- **Sums**: `combine` adds losses of any denominators, each the mean over its own.
"""
PIECES: dict[str, list[str]] = {
    "rewards": [
        *("reverse_kl", "forward_kl", "jensen_shannon", "alpha_divergence"),
        "shared_length_weights",
    ],
    "links": [
        *("pairwise_logistic", "pairwise_hinge", "pairwise_square"),
        *("pairwise_sigmoid", "pairwise_exo", "pairwise_discopop"),
    ],
    "label noise": ["smoothed", "debiased"],
    "weights of pairs": ["wpo_weights"],
    "levels of ratios": ["sequence_level", "sequence_token_level"],
    "surrogates": [
        *("unclipped_surrogate", "clipped_surrogate", "dual_clipped_surrogate"),
        *("cispo_surrogate", "sapo_surrogate", "clipped_value_error"),
    ],
    "aggregations": ["token_mean", "sequence_mean", "sequence_sum", "fixed_length"],
    "KL terms": [
        *("kl_k1", "kl_k2", "kl_k3", "kl_k3_k2", "kl_exact", "chunked_kl"),
        *("adaptive_kl_update", "adaptive_entropy_update"),
    ],
    "weights of tokens": [
        *("truncated_importance_weights", "masked_importance_weights"),
        *("sequence_importance_weights", "masked_sequence_importance_weights"),
        *("off_policy_mask", "entropy_threshold", "high_entropy_mask"),
    ],
    "advantages": [
        *("group_advantages", "centered_group_advantages", "batch_scaled_advantages"),
        *("rloo_advantages", "length_weighted_advantages"),
        *("decoupled_group_advantages", "greedy_baseline_advantages"),
        *("batch_baseline_advantages", "moving_baseline", "reinforce_pp_advantages"),
        *("optimal_token_advantages", "token_energies"),
        *("reward_to_go", "gae", "decoupled_gae", "masked_whiten", "masked_rescale"),
    ],
    "sums, checks and means": [
        *("sum_pairs", "sum_responses", "pair_output", "labelled_output"),
        *("sampled_tokens", "policy_output", "ratio_metrics", "clip_metrics"),
        *("combine", "sum_of_means", "check_arrays"),
    ],
    "terms, and what goes with a loss": [
        *("entropy_bonus", "ptx_term", "kto_reference_point", "plackett_luce_nll"),
        *("soft_value", "beta_dpo_keep", "ema_reference", "is_batch_coupled"),
    ],
}
TRL_HEAD = """## TRL's other names

What TRL 1.16 calls by a name that is in no cell above, and the product that it is here.

| in TRL | here |
| --- | --- |
"""
TRL = {
    '`loss_type="bnpo"` of GRPO': "`dapo_loss` with `clip_high=None`",
    '`loss_type="luspo"` of GRPO': "`sequence_level`, `clipped_surrogate`, "
    "`sequence_sum`",
    '`loss_type="vespo"` of GRPO': "not here",
    "`use_bias_correction_kl` of GRPO": "`policy_output` with "
    "`kl=tokens.ratio * kl_k3(...)`",
    '`scale_rewards="batch"` of GRPO': "`batch_scaled_advantages`",
    '`multi_objective_aggregation="normalize_then_sum"` of GRPO': (
        "`decoupled_group_advantages`"
    ),
    '`vllm_importance_sampling_mode="token_truncate"` of GRPO': (
        "`truncated_importance_weights`"
    ),
    '`vllm_importance_sampling_mode="token_mask"` of GRPO': (
        "`masked_importance_weights`"
    ),
    '`vllm_importance_sampling_mode="sequence_truncate"` of GRPO': (
        "`sequence_importance_weights`"
    ),
    '`vllm_importance_sampling_mode="sequence_mask"` of GRPO': (
        "`masked_sequence_importance_weights`"
    ),
    "`off_policy_mask_threshold` of GRPO": "`off_policy_mask`",
    "`top_entropy_quantile` of GRPO": "`entropy_threshold`, `high_entropy_mask`",
    "`f_divergence_type` with any `loss_type` of DPO": (
        "`Pairs.each` with a divergence, and any link"
    ),
    '`loss_type="alphapo"` of CPO': (
        "`simpo_loss` with the reward β `alpha_divergence(y.mean_logps, α)`"
    ),
    '`loss_type="hinge"`, `"ipo"` of CPO and TPO': (
        "`pairwise_hinge` of β `y.logps`, `pairwise_square` of `y.mean_logps`"
    ),
    '`loss_type="sigmoid"`, `"tpo-l"` of TPO': (
        "`combine` of `cpo_loss` or `simpo_loss` with `nll_weight=0` and `sft_loss` on "
        "the third response"
    ),
    '`loss_type="apo_zero_unpaired"` of KTO': (
        "`pairwise_sigmoid` of ± β h(y), `labelled_output`"
    ),
    '`loss_type="dft"` of SFT': (
        "`token_mean` of −sg(π) log π; `policy_gradient_loss` with advantages π"
    ),
}


class About(NamedTuple):
    """What a docstring and a signature say of a loss."""

    summary: str
    formula: str
    sources: list[str]
    trl: str
    arrays: list[str]
    defaults: dict[str, float]


def about(loss: Callable) -> About:
    """Reads summary, formula, sources, the paragraph on TRL, and the arguments."""
    doc = inspect.getdoc(loss) or ""
    text = doc.partition("\nArgs:")[0]
    paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
    formula = re.search(r"\n\n    (\S[^\n]*)\n\n", text)
    trl = [p.removeprefix("In TRL: ") for p in paragraphs if p.startswith("In TRL: ")]
    parameters = inspect.signature(loss).parameters.values()
    optional = [p for p in parameters if p.default is not p.empty]
    return About(
        summary=paragraphs[0],
        formula=formula[1] if formula else "",
        sources=[*dict.fromkeys(re.findall(r"https://[^\s,;:)]+[^\s,;:.)]", text))],
        trl=trl[0] if trl else "",
        arrays=[p.name for p in parameters if p.default is p.empty],
        defaults={
            p.name: p.default for p in optional if isinstance(p.default, int | float)
        },
    )


def page() -> str:
    """The whole README.md."""
    names = [n for n in losses.__all__ if n.endswith("_loss")]
    notation = (inspect.getdoc(losses) or "").partition("\n\n")[2]
    offered = pairwise_losses()
    others = [*losses_on("rankings"), *losses_on("completions")]
    rest = [n for n in names if n not in offered and n not in others]
    return "\n".join(
        [
            HEAD.format(notation=notation),
            "## On pairs of responses, `jaxalign dpo --loss NAME`\n",
            *table(offered),
            "",
            "## On rankings and on single completions, `jaxalign dpo --loss NAME`\n",
            *table(others),
            "",
            "## On other inputs\n",
            *table(rest),
            "",
            PIECES_HEAD,
            *pieces(),
            "",
            TRL_HEAD + "\n".join(f"| {name} | {here} |" for name, here in TRL.items()),
            "",
        ]
    )


def pieces() -> list[str]:
    """A row for each public piece."""
    rows = ["| piece | what it is | source |", "| --- | --- | --- |"]
    for kind, names in PIECES.items():
        rows.append(f"| *{kind}* | | |")
        for name in names:
            x = about(getattr(losses, name, None) or getattr(ops, name))
            formula = f"; `{x.formula}`" if x.formula else ""
            sources = ", ".join(f"[{_short(url)}]({url})" for url in x.sources)
            cells = [f"`{name}`", f"{x.summary}{formula}", sources]
            rows.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return rows


def table(names: list[str]) -> list[str]:
    """A row for each loss."""
    rows = [
        "| loss | formula | inputs | reference | batch-coupled | defaults | in TRL |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        loss = getattr(losses, name)
        x = about(loss)
        sources = ", ".join(
            f"[{_short(url)}]({url})" for url in dict.fromkeys(x.sources)
        )
        defaults = ", ".join(f"`{k}={v:g}`" for k, v in x.defaults.items())
        cells = [
            f"`{name}`: {x.summary} {sources}",
            f"`{x.formula}`" if x.formula else "see its docstring",
            ", ".join(x.arrays),
            "yes" if "ref" in x.arrays else "no",
            "yes" if is_batch_coupled(loss) else "no",
            defaults,
            x.trl,
        ]
        rows.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return rows


def _short(url: str) -> str:
    return url.removeprefix("https://").removeprefix("arxiv.org/abs/").split("/")[0]


def curves(name: str, margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A pairwise loss over the margin, and minus its derivative.

    Args:
      name: Of a pairwise loss.
      margins: `[n]`, D; each response is one token of log-probability -5 +- D/2.

    Returns:
      Loss and gradient weight, both `[n]`.
    """
    loss = find_loss(name)
    start, mask = jnp.full((1, 1), -5.0), jnp.ones((1, 1), bool)
    arrays: dict[str, Any] = {
        "ref": Pair(start, start),
        "mask": Pair(mask, mask),
        "kl": Pair(0 * start, 0 * start),
        "log_sum_squares": Pair(start, start),
        "reward_gap": jnp.ones(1),
        "win_rate": Pair(jnp.ones(1), jnp.zeros(1)),
        **dict.fromkeys(RUNNING, jnp.zeros(())),
    }
    others = {x: arrays[x] for x in about(loss).arrays if x != "policy"}

    def value(margin):
        policy = Pair(start + margin / 2, start - margin / 2)
        return loss(policy, **others).loss.value

    both = jax.jit(jax.vmap(jax.value_and_grad(value)))
    values, slopes = both(jnp.asarray(margins, jnp.float32))
    return np.asarray(values), -np.asarray(slopes)


def draw(path: Path) -> None:
    """One small panel a loss: the loss in blue, its gradient weight in orange."""
    import matplotlib.figure

    names, margins = pairwise_losses(), np.linspace(-9, 9, 181)
    columns = 6
    rows = -(-len(names) // columns)
    figure = matplotlib.figure.Figure(figsize=(15, 2.1 * rows), layout="constrained")
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        values, weights = curves(name, margins)
        axes.plot(margins, values, "C0")
        axes.set_title(name.removesuffix("_loss"), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.tick_params(axis="y", labelcolor="C0")
        axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        right = axes.twinx()
        right.plot(margins, weights, "C1", linestyle="--")
        right.tick_params(labelsize=7, labelcolor="C1")
    figure.supxlabel("margin D, nats")
    figure.suptitle("loss (blue, left axis) and gradient weight -dL/dD (orange, right)")
    figure.savefig(path, dpi=80)


def main() -> int:
    """Writes or checks the page; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare the page")
    file = FOLDER / "README.md"
    if parser.parse_args().check:
        same = file.exists() and file.read_text(encoding="utf-8") == page()
        print(
            f"{file.name}: {'up to date' if same else 'outdated, run without --check'}"
        )
        return 0 if same else 1
    file.write_text(page(), encoding="utf-8")
    draw(FOLDER / PLOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
