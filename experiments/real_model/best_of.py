"""What the best of n samples is worth by another judge, and how far it goes."""

import math

import numpy as np


def weights_of_best(rewards: np.ndarray, n: int) -> np.ndarray:
    """The probability of each sample that it is the best of n drawn without repeats.

        C(i − 1, n − 1) / C(N, n) for rank i of N samples, equal ones alike

    With these weights any second judgement of the samples has the mean that it has
    under best-of-n by the first, over all subsets of n.

    Args:
      rewards: `[N]`, N ≥ n.
      n: How many to choose from.

    Returns:
      `[N]`, of sum 1.
    """
    size, order = len(rewards), np.argsort(rewards, kind="stable")
    weights = np.empty(size)
    total = math.comb(size, n)
    weights[order] = [math.comb(i, n - 1) / total for i in range(size)]
    _, group = np.unique(rewards, return_inverse=True)
    shared = np.bincount(group, weights) / np.bincount(group)
    return shared[group]


def kl_of_best(rewards: np.ndarray, n: int) -> float:
    """KL of the best of n to the policy whose law the samples are, in nats.

        Σ_k p_k log(p_k / f_k),  p_k = F_k^n − F_(k−1)^n

    over distinct rewards, f_k being their shares and F_k the shares of those up to
    them. Completions of one reward are chosen among as the policy would, so this is the
    divergence, and the bound log n − (n − 1)/n is what it is without ties and with many
    samples (Beirami et al., https://arxiv.org/abs/2401.01879).
    """
    _, counts = np.unique(rewards, return_counts=True)
    shares = counts / counts.sum()
    ends = np.cumsum(shares) ** n
    chances = np.diff(ends, prepend=0.0)
    return float(np.sum(chances * np.log(chances / shares)))
