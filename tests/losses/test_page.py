"""The page of losses is the one that docstrings and signatures give."""

import numpy as np
import pytest

from experiments.loss_table import FOLDER, PLOT, about, curves, page
from jaxalign import losses
from jaxalign.recipes.loss_flags import EXTRAS, pairwise_losses


def test_the_page_is_up_to_date():
    """If not: `python -m experiments.loss_table`, and look at the plot."""
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page()
    assert (FOLDER / PLOT).read_bytes()[:4] == b"\x89PNG"


def test_every_loss_has_its_row():
    text = page()
    for name in losses.__all__:
        assert (f"\n| `{name}`: " in text) == name.endswith("_loss")


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
