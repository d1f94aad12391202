"""The losses, and the strengths at which each is run."""

import math

from experiments.enumlm import PairLoss

FLIP = 0.2
"""The rate of wrong labels that the losses that know of them assume."""

_TOLD = (("label_smoothing", FLIP),)

TABLE = {
    "dpo": PairLoss("dpo_loss"),
    "cdpo": PairLoss("dpo_loss", fixed=_TOLD),
    "rdpo": PairLoss("robust_dpo_loss", fixed=_TOLD),
    "ipo": PairLoss("ipo_loss", "tau"),
    "hinge": PairLoss("hinge_loss"),
    "exo": PairLoss("exo_pair_loss"),
}
"""Those that are also run at strength 1 on every kind of pairs."""

OTHERS = {
    "apo_down": PairLoss("apo_down_loss"),
    "apo_zero": PairLoss("apo_zero_loss"),
    "discopop": PairLoss("discopop_loss"),
    "dpo_nll": PairLoss("dpo_nll_loss"),
    "dpop": PairLoss("dpop_loss"),
    "f_dpo_alpha": PairLoss("f_dpo_alpha_loss"),
    "f_dpo_forward_kl": PairLoss("f_dpo_forward_kl_loss"),
    "f_dpo_js": PairLoss("f_dpo_js_loss"),
    "ipo_length_normalised": PairLoss("ipo_length_normalised_loss", "tau"),
    "ld_dpo": PairLoss("ld_dpo_loss"),
    "length_regularised_dpo": PairLoss("length_regularised_dpo_loss"),
    "ln_dpo": PairLoss("ln_dpo_loss"),
    "nca_pair": PairLoss("nca_pair_loss"),
    "sppo_hard": PairLoss("sppo_hard_loss", "eta"),
    "unweighted_dpo": PairLoss("unweighted_dpo_loss"),
    "cpo": PairLoss("cpo_loss"),
    "cpo_simpo": PairLoss("cpo_simpo_loss"),
    "simpo": PairLoss("simpo_loss"),
    "orpo": PairLoss("orpo_loss", "odds_weight"),
    "slic": PairLoss("slic_loss", "nll_weight"),
    "unlikelihood": PairLoss("unlikelihood_loss", "alpha"),
    "preferred_ft": PairLoss("preferred_ft_loss", ""),
}


def half_octaves(low: float, high: float) -> tuple[float, ...]:
    """From `low` to `high` by factors of the square root of two.

    >>> half_octaves(0.5, 2)
    (0.5, 0.7071, 1.0, 1.4142, 2.0)
    """
    steps = round(2 * math.log2(high / low))
    return tuple(round(low * 2 ** (k / 2), 4) for k in range(steps + 1))


SWEEPS: dict[str, tuple[float, ...]] = {
    "dpo": half_octaves(0.354, 1.416),
    "cdpo": half_octaves(0.177, 0.708),
    "rdpo": (4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
    "ipo": half_octaves(0.0625, 0.25),
    "hinge": half_octaves(0.354, 1.416),
    "exo": half_octaves(1.414, 8.0),
    "apo_down": (16.0, 32.0, 64.0, 128.0),
    "apo_zero": half_octaves(4.0, 32.0),
    "discopop": half_octaves(0.25, 1.414),
    "dpo_nll": half_octaves(0.5, 2.0),
    "dpop": (1.0,),
    "f_dpo_alpha": half_octaves(0.5, 2.0),
    "f_dpo_forward_kl": half_octaves(0.707, 2.0),
    "f_dpo_js": half_octaves(1.0, 2.828),
    "ipo_length_normalised": half_octaves(0.354, 1.0),
    "ld_dpo": half_octaves(0.354, 1.416),
    "length_regularised_dpo": half_octaves(0.354, 1.416),
    "ln_dpo": half_octaves(1.414, 4.0),
    "nca_pair": half_octaves(0.0625, 0.354),
    "sppo_hard": half_octaves(5.657, 45.25),
    "unweighted_dpo": (1.0,),
    "cpo": half_octaves(1.0, 4.0),
    "cpo_simpo": (1.0, 2.0, 4.0),
    "simpo": half_octaves(4.0, 16.0),
    "orpo": (4.0, 8.0, 16.0, 32.0, 64.0),
    "slic": half_octaves(0.25, 1.0),
    "unlikelihood": half_octaves(0.25, 1.0),
    "preferred_ft": (1.0,),
}
"""Where a sweep of seed 0 over powers of two passed through the KLs of `matched`.

Those of one value or that end early do not come there: DPO-positive hardly moves at its
default penalty, the unweighted loss ends in one place whatever its scale, and
likelihood terms hold the others.
"""
