"""What each pairwise loss costs, written anew: one pair at a time, in float64."""

from types import SimpleNamespace
from typing import Any

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_sigmoid(x):
    return np.log(sigmoid(x))


def read_pair(inputs, i) -> Any:
    """lp, h and length of both responses of pair i, token by token; None if void."""
    policy, ref, mask = inputs
    values = {}
    for side, name in ((0, "w"), (1, "l")):
        lp, tokens = 0.0, []
        for t in range(mask[side].shape[-1]):
            if mask[side][i, t]:
                lp += float(policy[side][i, t])
                tokens.append(float(policy[side][i, t]) - float(ref[side][i, t]))
        if not tokens:
            return None
        values |= {f"lp_{name}": lp, f"h_{name}": sum(tokens)}
        values |= {f"n_{name}": len(tokens), f"tokens_{name}": tokens}
    return SimpleNamespace(**values, D=values["h_w"] - values["h_l"])


def mean_loss(oracle, inputs):
    """The mean over pairs that have two responses, and their number."""
    pairs = [read_pair(inputs, i) for i in range(len(inputs[0].chosen))]
    costs = [oracle(s) for s in pairs if s is not None]
    return np.mean(costs), len(costs)


def dpo(s, beta=0.1, label_smoothing=0.0):
    p = sigmoid(beta * s.D)
    return -(1 - label_smoothing) * np.log(p) - label_smoothing * np.log(1 - p)


def robust_dpo(s, beta=0.1, label_smoothing=0.1):
    p = sigmoid(beta * s.D)
    clean, flipped = -np.log(p), -np.log(1 - p)
    cost = (1 - label_smoothing) * clean - label_smoothing * flipped
    return cost / (1 - 2 * label_smoothing)


def dpo_nll(s, beta=0.1, nll_weight=1.0):
    return -log_sigmoid(beta * s.D) - nll_weight * s.lp_w / s.n_w


def unweighted_dpo(s, beta=0.1):
    return -beta * s.D


def ipo(s, tau=0.1):
    return (s.D - 0.5 / tau) ** 2


def ipo_length_normalised(s, tau=0.1):
    return (s.h_w / s.n_w - s.h_l / s.n_l - 0.5 / tau) ** 2


def simpo(s, beta=2.0, gamma=1.0):
    return -log_sigmoid(beta * s.lp_w / s.n_w - beta * s.lp_l / s.n_l - gamma)


def orpo(s, odds_weight=0.1):
    p_w, p_l = np.exp(s.lp_w / s.n_w), np.exp(s.lp_l / s.n_l)
    odds_ratio = (p_w / (1 - p_w)) / (p_l / (1 - p_l))
    return -s.lp_w / s.n_w - odds_weight * log_sigmoid(np.log(odds_ratio))


def cpo(s, beta=0.1, nll_weight=1.0):
    return -log_sigmoid(beta * (s.lp_w - s.lp_l)) - nll_weight * s.lp_w


def cpo_simpo(s, beta=2.0, gamma=1.0, nll_weight=1.0):
    return simpo(s, beta, gamma) - nll_weight * s.lp_w / s.n_w


def dpop(s, beta=0.1, penalty=50.0):
    fallen = -s.h_w if s.h_w < 0 else 0.0
    return -log_sigmoid(beta * (s.D - penalty * fallen))


def hinge(s, beta=0.1):
    return max(0.0, 1 - beta * s.D)


def slic(s, delta=1.0, nll_weight=0.1):
    return max(0.0, delta - s.lp_w + s.lp_l) - nll_weight * s.lp_w


def nca_pair(s, beta=0.01):
    r_w, r_l = beta * s.h_w, beta * s.h_l
    return -np.log(sigmoid(r_w)) - 0.5 * np.log(sigmoid(-r_w) * sigmoid(-r_l))


def exo_pair(s, beta=0.1, label_smoothing=1e-3):
    """KL of the policy's two-way choice to the smoothed label, term by term."""
    weights = np.exp([beta * s.h_w, beta * s.h_l])
    model = weights / weights.sum()
    label = np.array([1 - label_smoothing, label_smoothing])
    return np.sum(model * np.log(model / label))


def sppo_hard(s, eta=1000.0):
    return (s.h_w - eta * (1 - 0.5)) ** 2 + (s.h_l - eta * (0 - 0.5)) ** 2


def apo_zero(s, beta=0.1):
    return 1 - sigmoid(beta * s.h_w) + sigmoid(beta * s.h_l)


def apo_down(s, beta=0.1):
    return sigmoid(beta * s.h_w) + 1 - sigmoid(beta * s.D)


def discopop(s, beta=0.1, tau=0.05):
    z = beta * s.D
    m = sigmoid(z / tau)
    return (1 - m) * -log_sigmoid(z) + m * np.exp(-z)


def f_dpo(s, beta, slope):
    """`slope` is f' of the divergence, at the ratio of the probabilities."""
    return -log_sigmoid(beta * (slope(np.exp(s.h_w)) - slope(np.exp(s.h_l))))


def f_dpo_reverse_kl(s, beta=0.1):
    return f_dpo(s, beta, lambda u: np.log(u) + 1)


def f_dpo_forward_kl(s, beta=0.1):
    return f_dpo(s, beta, lambda u: -1 / u)


def f_dpo_js(s, beta=0.1):
    return f_dpo(s, beta, lambda u: np.log(2 * u / (1 + u)))


def f_dpo_alpha(s, beta=0.1, alpha=0.5):
    return f_dpo(s, beta, lambda u: (1 - u**-alpha) / alpha)


def ln_dpo(s, beta=5.0):
    return -log_sigmoid(beta * (s.h_w / s.n_w - s.h_l / s.n_l))


def length_regularised_dpo(s, beta=0.1, alpha=0.01):
    """Bradley-Terry of rewards beta h + alpha |y|: the optimum of r - alpha |y|."""
    return -log_sigmoid((beta * s.h_w + alpha * s.n_w) - (beta * s.h_l + alpha * s.n_l))


def ld_dpo(s, beta=0.1, alpha=0.5):
    n = min(s.n_w, s.n_l)
    h_w, h_l = (
        sum(x if t < n else alpha * x for t, x in enumerate(tokens))
        for tokens in (s.tokens_w, s.tokens_l)
    )
    return -log_sigmoid(beta * (h_w - h_l))


def unlikelihood(s, alpha=1.0):
    return -s.lp_w + alpha * s.lp_l
