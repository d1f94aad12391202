"""`jaxalign online`: preferences between completions that the policy samples."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Literal

from jaxalign import rl
from jaxalign.errors import UserError
from jaxalign.recipes.finish import finish
from jaxalign.recipes.policy import open_policy
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.fit import (
    fit_iterations,
    observer,
    reference_of,
    start_rl_state,
)
from jaxalign.recipes.rl.parts import (
    plan_rollouts,
    row_options,
    sampling_of,
)
from jaxalign.recipes.rl.prompts import read_prompts
from jaxalign.recipes.rl.scoring import make_scoring
from jaxalign.recipes.rows import make_encoder
from jaxalign.recipes.run import open_run
from jaxalign.recipes.samples import decoder_of
from jaxalign.training import make_optimizer
from jaxalign.training.exits import FINISHED

ONLINE_ALGORITHMS: Mapping[str, Callable[..., rl.Algorithm]] = {
    x.__name__: x
    for x in (rl.online_dpo, rl.iterative_dpo, rl.xpo, rl.nash_md, rl.rebel)
}
SETTINGS = ("beta", "alpha", "mixture_coef", "eta")
"""What not all of them have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RLConfig):
    """Preferences between sampled completions: the higher reward wins, ties are out."""

    method: Literal["online_dpo", "iterative_dpo", "xpo", "nash_md", "rebel"] = (
        "online_dpo"
    )
    """Who writes the completions, and the loss."""
    num_generations: int = 2
    """Completions of each prompt; of more than two best and worst are compared."""
    num_iterations: int = 1
    """Passes over the completions before new ones are sampled."""
    beta: float | None = None
    """Strength of the pull towards the reference; 0.1 by default."""
    alpha: float | None = None
    """XPO: weight of the bonus for what the reference finds unlikely; 1e-5."""
    mixture_coef: float | None = None
    """Nash-MD: the reference's share of the mixture that writes the rivals; 0.5."""
    eta: float | None = None
    """REBEL: step size of the implied mirror descent; 1."""
    kl_coef: float = 0.0
    """Not used here: the pull towards the reference is in the loss."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        known = inspect.signature(ONLINE_ALGORITHMS[self.method]).parameters
        has = [name for name in SETTINGS if name in known]
        for name in SETTINGS:
            if getattr(self, name) is not None and name not in has:
                raise UserError(f"{self.method} has no {name}; it has {', '.join(has)}")
        online_algorithm(self).check_completions(self.num_generations)
        for name in ("kl_coef", "mix_data", "importance_cap"):
            if getattr(self, name):
                raise UserError(
                    f"{name} is {getattr(self, name)}, and preference losses have no "
                    "such term; leave it out"
                )


def online_algorithm(config: Config) -> rl.Algorithm:
    """What the settings ask for."""
    given = {name: getattr(config, name) for name in SETTINGS}
    given = {name: x for name, x in given.items() if x is not None}
    return ONLINE_ALGORITHMS[config.method](**given, passes=config.num_iterations)


def main(config: Config) -> int:
    """Trains a policy; returns the exit code."""
    algorithm = online_algorithm(config)
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config.vocab_size)
        tokenizer = encoder.tokenizer
        decoder = decoder_of(policy.model, policy.mesh, tokenizer=tokenizer)
        score = run.closing(make_scoring(config, tokenizer))
        prompts = read_prompts(config, encoder, policy, run.console)
        score.check_all(config, prompts)
        plan = plan_rollouts(config, algorithm, prompts, policy.row_devices)
        run.console.print(plan.describe(config), highlight=False)
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
            ref_params=reference_of(policy, params) if algorithm.reference else None,
            observe=observer(run, config),
            at_once=run.stop.at_once,
            clock=run.clock,
            **row_options(config, policy, plan.rows),
        )
        state = start_rl_state(run, policy, params, optimizer, algorithm, plan)
        state = fit_iterations(run, policy, iterate, state, prompts, plan, rate)

        finish(run, policy, state.params, method=algorithm.name)
    return run.exit_code
