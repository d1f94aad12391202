"""Token statistics in NumPy float64, one token at a time."""

import numpy as np


def stats_in_numpy(logits, targets, temperature=1.0, softcap=None, vocab_size=None):
    """`{field: array}` for logits `[..., V]`, from the definitions."""
    fields = {"logps": [], "logz": [], "mean_logps": [], "correct": [], "entropy": []}
    for z, y in zip(logits.reshape(-1, logits.shape[-1]), targets.ravel(), strict=True):
        z = z[:vocab_size].astype(np.float64)
        if softcap is not None:
            z = softcap * np.tanh(z / softcap)
        z = z / temperature
        logz = z.max() + np.log(np.sum(np.exp(z - z.max())))
        p = np.exp(z - logz)
        fields["logps"].append(z[y] - logz)
        fields["logz"].append(logz)
        fields["mean_logps"].append(np.sum(z - logz) / len(z))
        fields["correct"].append(z[y] == z.max())
        fields["entropy"].append(-np.sum(p * (z - logz)))
    return {name: np.reshape(x, targets.shape) for name, x in fields.items()}
