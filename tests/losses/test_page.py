"""The page of losses is the one that docstrings and signatures give."""

import re

import numpy as np
import pytest

from experiments.loss_table import FOLDER, PLOT, about, curves, page
from jaxalign import losses
from jaxalign.recipes.flags.loss_flags import EXTRAS, pairwise_losses


def test_the_page_is_up_to_date():
    """If not: `python -m experiments.loss_table`, and look at the plot."""
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page()
    assert (FOLDER / PLOT).read_bytes()[:4] == b"\x89PNG"


def test_every_loss_has_its_row():
    text = page()
    for name in losses.__all__:
        assert (f"\n| `{name}`: " in text) == name.endswith("_loss")


def test_every_public_name_is_on_it():
    text = page()
    types = {
        "LossFn",
        "LossOutput",
        "Pair",
        "Pairs",
        "Responses",
        "SampledTokens",
        "Objective",
    }
    for name in {*losses.__all__} - types:
        assert f"`{name}`" in text, name
    for name in ("token_mean", "kl_k3", "gae", "rloo_advantages", "sum_of_means"):
        assert f"\n| `{name}` |" in text


# Of TRL 1.16: what `loss_type` and its neighbours may be.
TRL_NAMES = [
    *("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair"),
    *("sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft"),
    *("sigmoid_norm", "simpo", "alphapo", "tpo-l", "apo_zero_unpaired", "dft"),
    *("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"),
    *("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
    *("use_weighting", "ld_alpha", "delta", "importance_sampling_level"),
    *("center_rewards_coefficient", "token_truncate", "sequence_mask", "scale_rewards"),
    *("KTOTrainer", "ORPOTrainer", "CPOTrainer", "RewardTrainer", "SFTTrainer"),
    *("RLOOTrainer", "GMPOTrainer", "A2POTrainer", "PPOTrainer", "XPOTrainer"),
    *("NashMDTrainer", "BCOTrainer"),
]


@pytest.mark.parametrize("name", TRL_NAMES)
def test_what_trl_has_is_in_a_cell(name):
    rows = [x for x in page().splitlines() if x.startswith("|")]
    cells = [x.strip().split(" | ") for x in rows]
    found = [c for c in cells if re.search(rf"\b{name}\b", f"{c[0]} {c[-1]}")]
    assert found, "it is in the last column, or in the table of other names"


@pytest.mark.parametrize("name", pairwise_losses())
def test_every_pairwise_loss_says_formula_and_source(name):
    x = about(getattr(losses, name))
    assert x.formula
    assert x.sources


def test_what_is_read_of_dpo():
    x = about(losses.dpo_loss)
    assert x.formula == "−(1 − ε) log σ(β D) − ε log σ(−β D)"
    assert x.sources[0] == "https://arxiv.org/abs/2305.18290"
    assert x.trl.startswith("`sigmoid`")
    assert x.arrays == ["policy", "ref", "mask"]
    assert x.defaults == {"beta": 0.1, "label_smoothing": 0.0}


MORE = [x for x in pairwise_losses() if {*about(getattr(losses, x)).arrays} & {*EXTRAS}]


@pytest.mark.parametrize("name", MORE)
def test_a_loss_that_reads_more_has_a_curve(name):
    values, weights = curves(name, np.array([1.0]))
    assert np.isfinite(values).all()
    assert (weights > 0).all()


def test_curves_of_dpo():
    margins = np.array([-8.0, 0.0, 8.0])
    values, weights = curves("dpo_loss", margins)
    np.testing.assert_allclose(values, np.log1p(np.exp(-0.1 * margins)), rtol=1e-5)
    np.testing.assert_allclose(weights, 0.1 / (1 + np.exp(0.1 * margins)), rtol=1e-5)
