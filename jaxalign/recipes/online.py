"""`jaxalign online`: preferences between completions that the policy samples."""

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

ONLINE_ALGORITHMS: Mapping[str, Callable[..., rl.Algorithm]] = {
    x.__name__: x
    for x in (rl.online_dpo, rl.iterative_dpo, rl.xpo, rl.nash_md, rl.rebel)
}
ONLINE_FLAGS = {"passes": "num_iterations"}
"""What keywords of algorithms are called here, as in other trainers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineConfig(RLConfig):
    """Preferences between sampled completions: the higher reward wins.

    Ties are out, but for Nash-MD, where both win half of the time, and REBEL.
    """

    method: Literal["online_dpo", "iterative_dpo", "xpo", "nash_md", "rebel"] = (
        "online_dpo"
    )
    """Who writes the completions, and the loss."""
    num_generations: int = 2
    """Completions of each prompt; of more than two best and worst are compared."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        online_algorithm(self).check_completions(self.num_generations)
        if self.mix_data:
            raise UserError(
                f"mix_data is {self.mix_data}, and preference losses have no such "
                "term; leave it out"
            )


_ALL = tuple(ONLINE_ALGORITHMS.values())
Config = with_algorithms(OnlineConfig, _ALL, ONLINE_FLAGS)


def online_algorithm(config: OnlineConfig) -> rl.Algorithm:
    """What the settings ask for."""
    return call_with_flags(config, ONLINE_ALGORITHMS[config.method], _ALL, ONLINE_FLAGS)


def main(config: OnlineConfig) -> int:
    """Trains a policy; returns the exit code."""
    algorithm = online_algorithm(config)
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config)
        tokenizer = encoder.tokenizer
        decoder = policy.decoder(tokenizer)
        score = run.closing(make_scoring(config, tokenizer))
        prompts = read_prompts(config, encoder, policy, run.console)
        score.check_all(config, prompts)
        plan = plan_rollouts(config, algorithm, prompts, policy.row_devices)
        run.console.print(plan.describe(config))
        if config.dry_run:
            return FINISHED
        digests = score.digests(config.reward) | prompts.fingerprints
        run.begin(policy, tokenizer, digests)
        score.log_to(run.folder.path)

        params = policy.load()
        optimizer, rate = make_optimizer(config.optimizer, plan.updates)
        iterate = rl.make_iteration(
            policy.backbone,
            algorithm=algorithm,
            reward=score,
            optimizer=optimizer,
            sampling=sampling_of(config, tokenizer, prompts.train),
            decoder=decoder,
            ref_params=reference_of(policy, params, config)
            if algorithm.reference
            else None,
            observe=observer(run, config),
            at_once=run.stop.at_once,
            clock=run.clock,
            **row_options(config, policy, plan.rows),
        )
        state = start_rl_state(run, policy, params, optimizer, algorithm, plan)
        state = fit_iterations(run, policy, iterate, state, prompts, plan, rate)

        finish(run, policy, state.params, method=algorithm.name)
    return run.exit_code
