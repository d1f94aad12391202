"""Distillation: the student's distribution drawn to a teacher's at each token."""

import jax

from jaxalign.backbone import Backbone
from jaxalign.batch import Batch
from jaxalign.losses import LossOutput
from jaxalign.objectives.by_completion import by_completion, completion_mask
from jaxalign.objectives.model import states_at_targets
from jaxalign.ops import Mean, chunked_jsd, chunked_kl, sequence_mean
from jaxalign.ops.checks import check_positive, check_range


def distillation_objective(
    student: Backbone,
    teacher: Backbone,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    chunk_size: int = 512,
):
    """Generalised knowledge distillation (GKD), on completions.

        mean over answers of (1/|y|) Σ_t D(teacher(·|s_t), student(·|s_t))

    Agarwal et al., https://arxiv.org/abs/2306.13649: D is the generalised
    Jensen–Shannon divergence `chunked_jsd` for β in (0, 1), KL(teacher ‖ student) for
    β = 0 and KL(student ‖ teacher) for β = 1. It is the same on data and on answers
    that the student sampled: no gradient flows through sampling.

    In TRL: `GKDTrainer`, which divides by all tokens of a batch.

    Args:
      student: The model that learns.
      teacher: The model that it learns from, with the same tokens; where one of the
        two unembeddings has more rows, the additional ones are left out.
      beta: 0: KL(teacher, student); 1: KL(student, teacher); between: Jensen-Shannon.
      temperature: Temperature of the sampler, and of both distributions, > 0.
      chunk_size: Positions whose logits are held at a time, of each model.

    Returns:
      An objective whose parameters are the pair of the student's and the teacher's;
      only the first gets a gradient. Its metrics are `kl`, KL(student ‖ teacher) where
      β is 1 and KL(teacher ‖ student) where it is 0, else `jsd`, by token.

    Raises:
      ValueError: If a number is out of its range.
    """
    check_range("beta", beta, 0, 1, closed_high=True)
    check_positive("temperature", temperature)

    def divergence(*models, **options) -> jax.Array:
        if 0 < beta < 1:
            return chunked_jsd(*models, mixture=beta, **options)
        both = chunked_kl(*models, **options)
        return both.to_ref if beta else both.from_ref

    def objective(params, batch: Batch, key) -> LossOutput:
        del key
        mine, theirs = params
        theirs = jax.lax.stop_gradient(theirs)
        head, other = student.head(mine), teacher.head(theirs)
        size = min(head.vocab_size, other.vocab_size)
        each = divergence(
            states_at_targets(student, mine, batch.tokens),
            head.kernel,
            states_at_targets(teacher, theirs, batch.tokens),
            other.kernel,
            temperature=temperature,
            softcap=head.softcap,
            ref_softcap=other.softcap,
            vocab_size=size,
            chunk_size=chunk_size,
        )
        each, mask = by_completion(batch, each), completion_mask(batch)
        name = "jsd" if 0 < beta < 1 else "kl"
        metrics = {name: Mean.of(each, where=mask)}
        return LossOutput(sequence_mean(each, mask), metrics)

    return objective
