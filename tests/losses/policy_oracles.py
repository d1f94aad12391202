"""The policy losses in NumPy float64, a token at a time, from the papers."""

import numpy as np


def tokens_of(mask):
    return [np.flatnonzero(row) for row in mask]


def clip(x, low, high):
    return min(max(x, low), high)


def surrogate(ratio, advantage, low, high):
    return max(-advantage * ratio, -advantage * clip(ratio, 1 - low, 1 + high))


def k3(logp, ref):
    return np.exp(ref - logp) - 1 - (ref - logp)


def per_token(loss, arrays, ref, beta):
    """`[[loss of each unmasked token] of each response]`."""
    logps, old, advantages, mask, weights = arrays
    rows = []
    for i, places in enumerate(tokens_of(mask)):
        row = []
        for t in places:
            ratio = np.exp(float(logps[i, t]) - float(old[i, t]))
            value = weights[i, t] * loss(ratio, advantages[i, t], logps[i, t])
            if ref is not None:
                value += beta * k3(float(logps[i, t]), float(ref[i, t]))
            row.append(value)
        rows.append(row)
    return rows


def over_tokens(rows):
    return np.mean(np.concatenate(rows))


def over_sequences(rows):
    return np.mean([np.mean(row) for row in rows if row])


def sums_of_sequences(rows):
    return np.mean([np.sum(row) for row in rows if row])


def sequence_ratios(logps, old, mask):
    ratios = []
    for i, places in enumerate(tokens_of(mask)):
        product = 1.0
        for t in places:
            product *= np.exp(float(logps[i, t]) - float(old[i, t]))
        ratios.append(product ** (1 / len(places)))
    return ratios


def clipped(low, high):
    return lambda ratio, advantage, logp: surrogate(ratio, advantage, low, high)


def dual(low, high, c):
    def loss(ratio, advantage, logp):
        value = surrogate(ratio, advantage, low, high)
        return min(value, -c * advantage) if advantage < 0 else value

    return loss


def cispo(low, high):
    return lambda ratio, a, logp: -clip(ratio, 1 - low, 1 + high) * a * logp


def sapo(positive, negative):
    def loss(ratio, advantage, logp):
        tau = positive if advantage > 0 else negative
        return -4 / tau / (1 + np.exp(-tau * (ratio - 1))) * advantage

    return loss


def by_response(loss, inputs, beta):
    """A loss of (ratios of the tokens, mean advantage), plus β k3 over tokens."""
    logps, old, advantages, mask, weights, ref = inputs
    values = []
    for i, places in enumerate(tokens_of(mask)):
        ratios = np.exp(np.float64(logps[i, places]) - old[i, places])
        value = loss(ratios, np.mean(advantages[i, places]))
        kl = np.mean([k3(float(logps[i, t]), float(ref[i, t])) for t in places])
        values.append(np.mean(weights[i, places]) * value + beta * kl)
    return np.mean(values)


def gspo(low, high):
    def loss(ratios, advantage):
        s = np.prod(ratios) ** (1 / len(ratios))
        return surrogate(s, advantage, low, high)

    return loss


def gmpo(low, high):
    def loss(ratios, advantage):
        product = 1.0
        for ratio in ratios:
            kept = (
                min(ratio, np.exp(high)) if advantage > 0 else max(ratio, np.exp(-low))
            )
            product *= kept
        return -advantage * product ** (1 / len(ratios))

    return loss
