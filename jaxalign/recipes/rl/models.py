"""The models of a run: policy, reference and critic."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.data.text.encode import Encoder
from jaxalign.objectives import Critic
from jaxalign.recipes.policy import Policy, open_policy
from jaxalign.recipes.program import Program, program_of
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.samples import decoder_of
from jaxalign.recipes.scorer import score_fn_of
from jaxalign.rollout import Decoder


class Models(NamedTuple):
    """What computes; parameters apart, no weight is loaded.

    Attributes:
      policy: The language model that learns.
      decoder: The same, as the sampler takes it.
      critic: What gives values, or None.
      encoder: Tokenizer and template of the policy.
      program: How functions run on the devices.
      has_reference: Whether the first policy is kept to measure the distance to.
    """

    policy: Policy
    decoder: Decoder
    critic: Policy | None
    encoder: Encoder
    program: Program
    has_reference: bool

    @property
    def values(self) -> Critic | None:
        """`(params, Tokens) -> [R, M]`, as objectives take it."""
        return None if self.critic is None else score_fn_of(self.critic.model)

    def load(self, key: jax.Array) -> Any:
        """What is trained: the policy's parameters, with a critic a dict of both."""
        params = self.policy.load()
        if self.critic is None:
            return params
        return {"policy": params, "critic": self.critic.load(key)}

    def reference(self, params: Any) -> Any:
        """A copy of the policy in `params`, which training will consume; or None."""
        if not self.has_reference:
            return None
        return self.program.replicate(jax.tree.map(jnp.copy, self.policy_of(params)))

    def policy_of(self, params: Any) -> Any:
        """The policy's part of what is trained."""
        return params if self.critic is None else params["policy"]

    def scored(self, params: Any, reference: Any) -> dict[str, Any]:
        """What `rollout_scorer` takes."""
        models = {"policy": params} if self.critic is None else dict(params)
        return models if reference is None else {**models, "reference": reference}


def open_critic(config: RLConfig, folder: str) -> Policy:
    """A reward model, or a language model that gets a fresh scalar head."""
    return open_policy(folder, head="score", **config.layout)


def open_models(
    config: RLConfig, encoder_of, *, critic: str | None, reference: bool
) -> Models:
    """Reads the models' descriptions; no weight is loaded yet.

    Args:
      config: The settings.
      encoder_of: From the policy's folder and vocabulary size to its encoder.
      critic: Folder of what the critic starts from, or None.
      reference: Whether the first policy is kept.
    """
    policy = open_policy(config.model, **config.layout)
    encoder = encoder_of(policy.folder, policy.config.vocab_size)
    return Models(
        policy,
        decoder_of(policy.model, policy.mesh, tokenizer=encoder.tokenizer),
        None if critic is None else open_critic(config, critic),
        encoder,
        program_of(config.parallel, policy.mesh),
        reference,
    )
