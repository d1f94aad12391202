"""The losses, and the strengths at which each is run."""

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

SWEEPS = dict.fromkeys((*TABLE, *OTHERS), (0.25, 0.5, 1.0))
