"""Losses on sampled answers, against loops over prompts, answers and tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.objectives import (
    Backbone,
    Head,
    online,
    online_objective,
)
from tests.rows import packed_batch, random_examples

VOCAB = 9
TEMPERATURE = 0.8
LAYOUT = [[0, 1], [2], [3, 4], []]
BACKBONE = Backbone(
    lambda p, rows: p[rows.inputs], lambda p: Head(jnp.eye(VOCAB), None, VOCAB)
)
LOSSES = {
    "online_dpo": (online.online_dpo_of_rivals, {"beta": 0.3}),
    "iterative_dpo": (online.iterative_dpo_of_rivals, {"beta": 0.3}),
    "xpo": (online.xpo_of_rivals, {"beta": 0.3, "alpha": 0.2}),
    "rebel": (online.rebel_of_rivals, {"eta": 0.7}),
    "nash_md": (online.nash_md_of_rivals, {"beta": 0.3}),
}
SCORES = {
    2: [[1.0, 0.0], [0.0, 2.0], [1.5, 1.5], [-1.0, -3.0], [0.25, 0.5]],
    3: [[1, 0, 2], [0, 2, 0], [1.5, 1.5, 1.5], [-1, -3, -2], [9, 0.5, 1]],
}


def setup(k):
    """Five prompts; answer 0 of the last is not used, nor is there a fourth row."""
    rng = np.random.default_rng(k)
    examples = random_examples(rng, 5, VOCAB, responses=k)
    batch = packed_batch([[examples[i] for i in row] for row in LAYOUT], 60, 50)
    rows = batch.tokens
    table = rng.normal(size=(VOCAB, VOCAB)).astype(np.float32)
    ref, old = np.log(rng.dirichlet(np.ones(VOCAB), size=2)).astype(np.float32)
    lengths = np.zeros((4, 2, k), np.int32)
    scores = np.zeros(rows.target_ids.shape, np.float32)
    for r, row in enumerate(LAYOUT):
        at = 0
        for p, i in enumerate(row):
            for a, answer in enumerate(examples[i].responses):
                used = k == 2 or (i, a) != (4, 0)
                lengths[r, p, a] = len(answer) * used
                scores[r, at : at + len(answer)] = SCORES[k][i][a]
                at += len(answer)
    ids = np.asarray(rows.target_ids)
    known = {"old_logps": old[ids], "advantages": scores, "ref_logps": ref[ids]}
    batch = batch._replace(length=jnp.asarray(lengths))
    batch = batch.with_tokens(**{k: jnp.asarray(x) for k, x in known.items()})
    return examples, batch, table, ref, old


def logp(table, prompt, answer):
    total, last = 0.0, prompt[-1]
    for token in answer:
        z = table[last].astype(np.float64) / TEMPERATURE
        total += z[token] - np.log(np.exp(z).sum())
        last = token
    return total


def of_prompt(name, lp, ref, old, scores):
    """The loss of a prompt from sums over its answers; None if it decides nothing."""
    best, worst = int(np.argmax(scores)), int(np.argmin(scores))
    if name == "rebel":
        d = (lp[0] - old[0]) - (lp[1] - old[1])
        return (d / 0.7 - (scores[0] - scores[1])) ** 2
    if name == "nash_md":
        won = (1 + np.sign(scores[0] - scores[1])) / 2
        return -(won - 0.5 - 0.3 * (lp[0] - ref[0])) * lp[0]
    if scores[best] == scores[worst]:
        return None
    base = old if name == "iterative_dpo" else ref
    margin = (lp[best] - base[best]) - (lp[worst] - base[worst])
    loss = np.log1p(np.exp(-0.3 * margin))
    return loss + 0.2 * lp[1] if name == "xpo" else loss


@pytest.mark.parametrize("k", [2, 3])
def test_every_loss(k):
    examples, batch, table, ref, old = setup(k)
    names = [x for x in LOSSES if k == 2 or x.endswith("dpo")]

    @jax.jit
    def run(params, batch):
        outs = {}
        for name in names:
            loss, values = LOSSES[name]
            objective = online_objective(
                loss, BACKBONE, temperature=TEMPERATURE, longest=6, **values
            )
            outs[name] = objective(params, batch, jax.random.key(0))
        return outs

    found = run(jnp.asarray(table), batch)
    for name in names:
        losses = []
        for i, (prompt, answers) in enumerate(examples):
            used = [a for a in range(k) if k == 2 or (i, a) != (4, 0)]
            sums = zip(
                *(
                    (
                        logp(table, prompt, answers[a]),
                        sum(float(ref[t]) for t in answers[a]),
                        sum(float(old[t]) for t in answers[a]),
                        SCORES[k][i][a],
                    )
                    for a in used
                ),
                strict=True,
            )
            losses.append(of_prompt(name, *map(np.asarray, sums)))
        decided = [x for x in losses if x is not None]
        assert len(decided) == (5 if name in ("rebel", "nash_md") else 4)
        np.testing.assert_allclose(found[name].loss.value, np.mean(decided), rtol=1e-4)
        assert found[name].loss.weight == len(decided)
        ties = found[name].metrics["ties"]
        assert (ties.total, ties.weight) == (1, 5)


def test_an_empty_batch_is_zero_and_has_no_gradient():
    _, batch, table, _, _ = setup(2)
    batch = batch._replace(length=jnp.zeros_like(batch.length))

    def values(params):
        objectives = (online_objective(f, BACKBONE, **x) for f, x in LOSSES.values())
        outs = [f(params, batch, jax.random.key(0)) for f in objectives]
        return jnp.stack([out.loss.value for out in outs])

    found, slopes = jax.jit(lambda x: (values(x), jax.jacrev(values)(x)))(table)
    assert found.tolist() == [0] * len(LOSSES)
    assert not np.any(slopes)
