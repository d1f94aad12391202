"""`jaxalign grpo`: policy gradients from several completions of each prompt."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from jaxalign import rl
from jaxalign.errors import UserError
from jaxalign.recipes.inputs.rows import make_encoder
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.fit import (
    fit_iterations,
    observer,
    reference_of,
    start_rl_state,
)
from jaxalign.recipes.rl.flags import call_with_flags, with_algorithms
from jaxalign.recipes.rl.parts import (
    plan_rollouts,
    read_other_rows,
    row_options,
    sampling_of,
)
from jaxalign.recipes.rl.prompts import read_prompts
from jaxalign.recipes.rl.scoring import make_scoring
from jaxalign.recipes.runs.finish import finish
from jaxalign.recipes.runs.policy import open_policy
from jaxalign.recipes.runs.run import open_run
from jaxalign.training import make_optimizer
from jaxalign.training.stopping.exits import FINISHED

GROUP_ALGORITHMS: Mapping[str, Callable[..., rl.Algorithm]] = {
    x.__name__: x
    for x in (
        rl.grpo,
        rl.dr_grpo,
        rl.dapo,
        rl.gspo,
        rl.cispo,
        rl.sapo,
        rl.gmpo,
        rl.rloo,
        rl.reinforce,
        rl.reinforce_baseline,
        rl.reinforce_pp,
        rl.reinforce_pp_baseline,
        rl.remax,
    )
}


GROUP_FLAGS = {
    "clip": "epsilon",
    "clip_high": "epsilon_high",
    "passes": "num_iterations",
}
"""What keywords of algorithms are called here, as in other trainers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupConfig(RLConfig):
    """Group-relative and other critic-free policy gradients on sampled completions."""

    # Written out: type checkers take no Literal that is computed.
    algorithm: Literal[
        "grpo",
        "dr_grpo",
        "dapo",
        "gspo",
        "cispo",
        "sapo",
        "gmpo",
        "rloo",
        "reinforce",
        "reinforce_baseline",
        "reinforce_pp",
        "reinforce_pp_baseline",
        "remax",
    ] = "grpo"
    """How rewards become advantages, and the loss."""
    num_generations: int = 8
    """Completions of each prompt."""
    dynamic_sampling: bool = False
    """Leave out groups whose completions all have one reward, and sample more."""
    max_refills: int = 3
    """Times that `dynamic_sampling` may sample again in an iteration."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if self.max_refills < 0:
            raise UserError(f"max_refills must be 0 or more, got {self.max_refills}")
        if self.dynamic_sampling and self.num_generations < 2:
            raise UserError("dynamic_sampling needs num_generations of 2 or more")
        # Made here too, so that it refuses its keywords before a model is opened.
        grpo_algorithm(self).check_completions(self.num_generations)


_ALL = tuple(GROUP_ALGORITHMS.values())
Config = with_algorithms(GroupConfig, _ALL, GROUP_FLAGS)


def grpo_algorithm(config: GroupConfig) -> rl.Algorithm:
    """What the settings ask for."""
    return call_with_flags(
        config, GROUP_ALGORITHMS[config.algorithm], _ALL, GROUP_FLAGS
    )


def main(config: GroupConfig) -> int:
    """Trains a policy; returns the exit code."""
    algorithm = grpo_algorithm(config)
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config)
        tokenizer = encoder.tokenizer
        decoder = policy.decoder(tokenizer)
        score = run.closing(make_scoring(config, tokenizer))
        prompts = read_prompts(config, encoder, policy, run.console)
        score.check_all(config, prompts)
        plan = plan_rollouts(config, algorithm, prompts, policy.row_devices)
        other = read_other_rows(config, encoder, plan, policy.row_devices, run.console)
        run.console.print(plan.describe(config))
        if config.dry_run:
            return FINISHED
        digests = score.digests(config.reward) | prompts.fingerprints
        digests |= other.fingerprints
        run.begin(policy, tokenizer, digests)
        score.log_to(run.folder.path)

        params = policy.load()
        optimizer, rate = make_optimizer(config.optimizer, plan.updates)
        iterate = rl.make_iteration(
            policy.backbone,
            algorithm=algorithm,
            reward=score,
            optimizer=optimizer,
            sampling=sampling_of(
                config,
                tokenizer,
                prompts.train,
                max_refills=config.max_refills if config.dynamic_sampling else None,
            ),
            decoder=decoder,
            ref_params=reference_of(policy, params, config)
            if algorithm.reference
            else None,
            mix=other.mix,
            observe=observer(run, config),
            at_once=run.stop.at_once,
            clock=run.clock,
            **row_options(config, policy, plan.rows),
        )
        state = start_rl_state(run, policy, params, optimizer, algorithm, plan)
        state = fit_iterations(run, policy, iterate, state, prompts, plan, rate)

        finish(run, policy, state.params, method=algorithm.name)
    return run.exit_code
