"""What losses read beside log-probabilities, against whole distributions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.objectives import Backbone, Head, bind
from tests.rows import packed_batch, random_examples

VOCAB = 9
LAYOUT = [[0, 1], [2], [3, 4], []]
MARGINS = [0.1, 0.9, 0.4, 0.7, 0.2]
BACKBONE = Backbone(
    lambda p, rows: p[rows.inputs], lambda p: Head(jnp.eye(VOCAB), None, VOCAB)
)
LOSSES = ["wpo_loss", "tdpo1_loss", "tdpo2_loss", "mappo_loss", "sppo_soft_loss"]


def log_softmax(row):
    z = row.astype(np.float64)
    return z - np.log(np.exp(z).sum())


def in_numpy(name, examples, table, other, ref):
    """Each pair alone: sums over the tokens of both sides."""
    costs = []
    for (prompt, answers), margin in zip(examples, MARGINS, strict=True):
        h, kl, log_weight = [], [], 0.0
        for answer in answers:
            last, ratio, divergence, excess = prompt[-1], 0.0, 0.0, 0.0
            for token in answer:
                p, q = log_softmax(table[last]), log_softmax(other[last])
                ratio += p[token] - ref[token]
                divergence += sum(np.exp(q[v]) * (q[v] - p[v]) for v in range(VOCAB))
                excess += p[token] - np.log(
                    sum(np.exp(p[v]) ** 2 for v in range(VOCAB))
                )
                last = token
            h.append(ratio)
            kl.append(divergence)
            log_weight += excess / len(answer)
        d, weight = h[0] - h[1], 1.0
        if name == "wpo_loss":
            weight = min(np.exp(log_weight), 1.0)
        elif name == "tdpo1_loss":
            d -= kl[1] - kl[0]
        elif name == "tdpo2_loss":
            d -= 0.5 * (kl[1] - kl[0])
        elif name == "mappo_loss":
            d = h[0] - margin * h[1]
        elif name == "sppo_soft_loss":
            rates = margin, margin / 2
            gaps = (x - 1000 * (r - 0.5) for x, r in zip(h, rates, strict=True))
            costs.append(sum(x**2 for x in gaps))
            continue
        costs.append(weight * np.log1p(np.exp(-0.1 * d)))
    return np.mean(costs)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_every_extra(temperature):
    rng = np.random.default_rng(0)
    examples = random_examples(rng, 5, VOCAB, responses=2)
    table, other = rng.normal(size=(2, VOCAB, VOCAB)).astype(np.float32)
    ref = np.log(rng.dirichlet(np.ones(VOCAB))).astype(np.float32)
    rows = [[examples[i] for i in row] for row in LAYOUT]
    batch = packed_batch(rows, 60, 50, ref)
    margins = np.zeros((4, 2), np.float32)
    for r, row in enumerate(LAYOUT):
        margins[r, : len(row)] = [MARGINS[i] for i in row]
    margin = jnp.asarray(margins)
    sides = {"margin": (margin, margin), "win_rate": (margin, margin / 2)}
    labels = {name: jnp.stack(both, axis=-1) for name, both in sides.items()}
    batch = batch._replace(per_completion=labels)

    @jax.jit
    def run(table, other, batch):
        found = {}
        for name in LOSSES:
            objective = bind(
                getattr(losses, name),
                BACKBONE,
                chunk_size=8,
                sampling_temperature=temperature,
            )
            params = (table, other) if name.startswith("tdpo") else table
            found[name] = objective(params, batch, jax.random.key(0)).loss.value
        return found

    found = run(table, other, batch)
    for name in LOSSES:
        mine, theirs = (x.astype(np.float64) / temperature for x in (table, other))
        expected = in_numpy(name, examples, mine, theirs, ref)
        np.testing.assert_allclose(found[name], expected, rtol=2e-5, err_msg=name)
