"""A model to be evaluated: it scores examples, and completes prompts."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from jaxalign.data.packing.batches import Batches
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer
from jaxalign.objectives import token_statistics
from jaxalign.parallel.program import Program, mesh_program
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.runs.samples import ends_of
from jaxalign.recipes.scoring import reference
from jaxalign.rewards import Completion
from jaxalign.rl import Prompt
from jaxalign.rollout import Completions, Decoder, SamplingProgress, generate
from jaxalign.training import Counted

Logps: TypeAlias = list[list[np.ndarray]]
"""Token log-probabilities, by example and by its sequences."""


class EvaluationSampling(NamedTuple):
    """How completions are drawn; see `jaxalign.rollout.generate`."""

    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float
    num_samples: int
    batch_size: int
    seed: int
    stop: tuple[str, ...] = ()


class Checkpoint(NamedTuple):
    """A model with its weights on the devices.

    Attributes:
      name: As the user called it.
      policy: The model.
      tokenizer: Of its folder.
      decoder: The model as the sampler takes it.
      program: How functions run on the devices.
      params: Its parameters.
    """

    name: str
    policy: Policy
    tokenizer: Tokenizer
    decoder: Decoder
    program: Program
    params: Any

    def logps(
        self, examples: Sequence[Example], batch_size: int, temperature: float = 1.0
    ) -> Logps:
        """Log-probabilities of the trained tokens, by example and by its sequences.

        Args:
          examples: At least one, all with the same number of sequences.
          batch_size: Examples computed at a time.
          temperature: Logits are divided by it.

        Returns:
          In the order of the examples; each sequence's `[m]` float32.
        """
        # Numbered by place, by which the results are found again.
        numbered = [Example(i, x.sequences) for i, x in enumerate(examples)]
        batches = Batches(
            numbered,
            batch_size=batch_size,
            shuffle=False,
            row_multiple=self.program.row_devices,
        )
        stats = token_statistics(self.policy.backbone, temperature=temperature)
        scorer = self.program.map(lambda params, rows: stats(params, rows).logps)
        with Counted(f"log-probs by {self.name}, batches", len(batches)) as seen:
            found = reference.score_batches(
                lambda params, rows: self.program.rows(scorer(params, rows)),
                self.params,
                (batches[i] for i in seen.over(range(len(batches)))),
                lambda batch: self.program.place(batch.tokens),
            )
        # All trained tokens of a row come in one array, a branch behind the other.
        ends = [np.cumsum(x.branch_lengths)[:-1] for x in batches.layouts]
        return [np.split(found[i], at) for i, at in enumerate(ends)]

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: EvaluationSampling,
        progress: Callable[[SamplingProgress], None] | None = None,
    ) -> Completions:
        """Samples completions; all of a prompt lie side by side."""
        return generate(
            self.decoder,
            self.params,
            [x.ids for x in prompts],
            jax.random.key(sampling.seed),
            stop_ids=self.tokenizer.stop_ids,
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            ends=ends_of(self.tokenizer, sampling.stop),
            num_samples=sampling.num_samples,
            # Further slots would stay empty.
            batch_size=min(sampling.batch_size, len(prompts) * sampling.num_samples),
            progress=progress,
        )

    def completions(
        self,
        prompts: Sequence[Prompt],
        drawn: Completions,
        num_samples: int,
        keep_special: bool = False,
    ) -> list[Completion]:
        """Completions as rewards read them, with or without special tokens."""
        return [
            prompts[i // num_samples].completion(
                self.tokenizer.decode(ids, skip_special=not keep_special),
                ids,
                bool(drawn.stopped[i]),
            )
            for i, ids in enumerate(drawn.ids())
        ]


def open_checkpoint(
    name: str, *, dtype: str, chat_template: str | None = None
) -> Checkpoint:
    """Loads a model folder.

    Args:
      name: The folder, or a name on the hub.
      dtype: Type of the matrix products.
      chat_template: In place of the checkpoint's own.
    """
    policy = open_policy(
        name,
        dtype=dtype,
        # Nothing is differentiated, so nothing is ever computed anew.
        remat="none",
        attention="blocked",
        parallel="mesh",
        mesh_sizes={"fsdp": -1},
    )
    tokenizer = load_tokenizer(policy.folder, chat_template=chat_template)
    decoder = policy.decoder(tokenizer)
    program = mesh_program(policy.mesh)
    return Checkpoint(name, policy, tokenizer, decoder, program, policy.load())


def as_examples(
    prompts: Sequence[Prompt], drawn: Completions, num_samples: int
) -> list[Example]:
    """Prompts with their sampled completions, whose tokens count."""
    examples = []
    for i, ids in enumerate(drawn.ids()):
        prompt = prompts[i // num_samples].ids
        trained = np.arange(len(prompt) + len(ids)) >= len(prompt)
        whole = np.array([*prompt, *ids], np.int32)
        examples.append(Example(i, (TokenSequence(whole, trained),)))
    return examples
