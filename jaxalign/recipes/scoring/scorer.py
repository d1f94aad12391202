"""Scores of whole sequences: lists of token ids in, one number each out."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.batch import Batch, Tokens
from jaxalign.data.packing.layout import ExampleLayout, lay_out
from jaxalign.data.packing.pack import RowShape, fill, pack, unpack_targets
from jaxalign.data.packing.row_plan import buckets
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError
from jaxalign.models import ModelConfig, Transformer, scalar_scores
from jaxalign.parallel.program import Program
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.training import Counted

SCORED_TOKENS = 4096
"""Positions that a device computes at a time."""
# A row has a slot for every so many tokens; if all are shorter, some room is lost.
_SMALLEST_SEQUENCE = 8

Sequences = Sequence[Sequence[int] | np.ndarray]


def score_fn_of(model: Transformer) -> Callable[[Any, Tokens], jax.Array]:
    """`(params, Tokens) -> [R, M]`: the scalar head at the batch's `target_at`."""

    def score_fn(params, tokens: Tokens):
        return scalar_scores(
            model,
            params,
            tokens.inputs,
            tokens.target_at,
            tokens.positions,
            tokens.segment_ids,
            tokens.branch_ids,
        )

    return score_fn


@functools.lru_cache(maxsize=4)
def make_scorer(
    config: ModelConfig, program: Program, dtype: str, attention: str
) -> Callable[..., np.ndarray]:
    """Builds the scorer of a model with a scalar head.

    Sequences are packed into rows of a few lengths, so that it compiles once for each
    length and each power of two of rows, whatever it is given.

    Args:
      config: Of the model.
      program: The devices.
      dtype: Type of the matrix products.
      attention: How attention is computed.

    Returns:
      `(params, sequences, title=None) -> [n]` float32, each sequence's score at its
      last token, and under a title people see how far it is; the same function for the
      same arguments, so that nothing is compiled twice.
    """
    model = Transformer(config, dtype=jnp.dtype(dtype), attention=attention)
    compiled = program.map(score_fn_of(model))

    def scorer(
        params: Any, sequences: Sequences, title: str | None = None
    ) -> np.ndarray:
        layouts = [_layout(i, ids, config) for i, ids in enumerate(sequences)]
        scores = np.zeros(len(layouts), np.float32)
        # All are under way before the first is read.
        waiting = [
            (batch, compiled(params, program.place(batch.tokens)))
            for batch in _batches(layouts, program.row_devices)
        ]
        with Counted(title, len(waiting)) as seen:
            for batch, out in seen.over(waiting):
                for i, value in unpack_targets(batch, program.rows(out)).items():
                    scores[i] = value[0]
        return scores

    return scorer


def scorer_of(policy: Policy) -> Callable[..., np.ndarray]:
    """`make_scorer` of a model that is open."""
    model = policy.model
    kind = str(jnp.dtype(model.dtype))
    return make_scorer(policy.config, policy.program, kind, model.attention)


def load_scorer(
    folder: str,
    *,
    dtype: str = "auto",
    attention: str = "blocked",
    mesh_sizes=None,
    shown: bool = False,
) -> Callable[[Sequences], np.ndarray]:
    """Reads what a reward model is; its weights are loaded when it first scores.

    Args:
      folder: A folder of a `...ForSequenceClassification` with one label, or its name
        on the hub.
      dtype: Type of the matrix products, or `auto`.
      attention: How attention is computed.
      mesh_sizes: `{axis: devices}`; by default all of them under `fsdp`.
      shown: Whether people see how far it is; not beside the bar of a run.

    Returns:
      `sequences -> [n]` float32: the score of each list of token ids at its last
      token, with the bias that normalises them. The ids are those of this model's
      tokenizer.

    Raises:
      UserError: The folder holds no such model.
    """
    policy = open_policy(
        folder,
        dtype=dtype,
        remat="none",
        attention=attention,
        parallel="mesh",
        mesh_sizes=mesh_sizes or {"fsdp": -1},
        head="score",
        new_head=False,
    )
    # At the first call, so that all settings are checked before weights are read.
    params = functools.cache(policy.load)
    scorer = scorer_of(policy)
    title = f"scores by {folder}, batches" if shown else None
    return lambda sequences: scorer(params(), sequences, title)


class Judged(NamedTuple):
    """Scores of examples with K completions at most, as losses on scores take them.

    Attributes:
      scores: `[n, K]` float32.
      mask: `[n, K]` bool, which completions there are.
      labels: `[n, K]` by name, what the data says of them.
    """

    scores: np.ndarray
    mask: np.ndarray
    labels: dict[str, np.ndarray]


def ends(examples: Sequence[Example]) -> list[np.ndarray]:
    """Every completion of some examples, as far as its last trained token."""
    return [x.to_last_target().ids for e in examples for x in e.sequences]


def judged(examples: Sequence[Example], scores: np.ndarray) -> Judged:
    """The scores of `ends(examples)`, by example."""
    counts = np.array([[len(e.sequences)] for e in examples])
    mask = np.arange(counts.max()) < counts

    def table(values: np.ndarray) -> np.ndarray:
        out = np.zeros(mask.shape, np.float32)
        out[mask] = values
        return out

    labels = {
        name: table(np.concatenate([e.labels[name] for e in examples]))
        for name in examples[0].labels
    }
    return Judged(table(scores), mask, labels)


def _layout(
    index: int, ids: Sequence[int] | np.ndarray, config: ModelConfig
) -> ExampleLayout:
    ids = np.asarray(ids, np.int32)
    most, limit = config.max_positions, config.vocab_size
    if not len(ids) or len(ids) > most:
        raise UserError(
            f"Sequence {index} has {len(ids)} tokens; the reward model reads 1 to "
            f"{most}. Leave it out, or shorten prompts and completions."
        )
    foreign = ids[(ids < 0) | (ids >= limit)]
    if len(foreign):
        raise UserError(
            f"Sequence {index} holds the id {foreign[0]}; those of the reward model go "
            f"from 0 to {limit - 1}. Encode the text with the reward model's tokenizer."
        )
    last = np.arange(len(ids)) == len(ids) - 1
    return lay_out(Example(index, (TokenSequence(ids, last),)), read_ends=True)


def _batches(layouts: list[ExampleLayout], devices: int) -> Iterator[Batch]:
    if not layouts:
        return
    # Rows of one length, that of the longest sequence: fewer programs.
    tokens = buckets(layouts)[-1]
    slots = max(1, tokens // _SMALLEST_SEQUENCE)
    shape = RowShape(tokens, slots, slots)
    rows = pack(layouts, shape)
    most = max(1, SCORED_TOKENS // tokens)
    for start in range(0, len(rows), devices * most):
        part = rows[start : start + devices * most]
        each = -(-len(part) // devices)
        # A power of two, so that it compiles for few numbers of rows.
        count = devices * min(most, 1 << (each - 1).bit_length())
        yield fill(layouts, part, shape, count)
