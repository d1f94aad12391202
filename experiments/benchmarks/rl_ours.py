"""Iterations of `jaxalign grpo` or `ppo`, measured in this process; prints one line.

    python -m experiments.benchmarks.rl_ours --task grpo --shape A

The recipe runs as a user runs it, on folders of random weights.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
from tokenizers import Tokenizer, models, pre_tokenizers

import jaxalign
from experiments.benchmarks import rl_work
from experiments.benchmarks.generation_work import BATCH, NEW, PROMPT
from experiments.benchmarks.model_config import model_config_of
from experiments.benchmarks.shapes import SHAPES, Shape
from jaxalign.models import Transformer, export_model, init_params, with_score_head
from jaxalign.recipes import grpo, ppo
from jaxalign.rewards.builtin import BUILT_IN
from jaxalign.training.optimizer import OptimizerConfig


def score(completions) -> list[float]:
    """The reward, as `--reward` takes it."""
    return rl_work.score([x.completion for x in completions])


def write_model(folder: Path, shape: Shape, *, scalar: bool = False) -> str:
    """A folder of random weights, with a tokenizer of words."""
    config = model_config_of(shape)
    if scalar:
        config = with_score_head(config)
    params = jax.jit(lambda key: init_params(Transformer(config), key))
    export_model(folder, config, params(jax.random.key(scalar)))
    words = models.WordLevel(rl_work.words_of(shape), unk_token="<unk>")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(special), encoding="utf-8")
    return str(folder)


def settings_of(args, folder: Path) -> dict[str, Any]:
    shape, answers = SHAPES[args.shape], rl_work.ANSWERS[args.task]
    steps = args.steps + rl_work.COMPILING + 1
    prompts = rl_work.prompt_words(shape, steps * BATCH // answers)
    data = folder / "prompts.jsonl"
    lines = (json.dumps({"prompt": x}) + "\n" for x in prompts)
    data.write_text("".join(lines), encoding="utf-8")
    return {
        "model": write_model(folder / "policy", shape),
        "data": str(data),
        "output_dir": str(folder / "run"),
        "reward": ("score",),
        "batch_size": BATCH // answers,
        "num_generations": answers,
        "max_new_tokens": NEW,
        "max_length": PROMPT + NEW + 2,
        "kl_coef": rl_work.KL_COEF[args.task],
        "max_steps": steps,
        "save_steps": 10 * steps,
        "eval_steps": 10 * steps,
        "export": False,
        "optimizer": OptimizerConfig(learning_rate=rl_work.LEARNING_RATE),
    }


def config_of(args, folder: Path) -> Any:
    """The recipes' settings, defaults unless what is measured asks for others."""
    settings = settings_of(args, folder)
    if args.task == "grpo":
        return grpo.Config(**settings)
    scorer = write_model(folder / "scorer", SHAPES[args.shape], scalar=True)
    settings["reward"] += (scorer,)
    return ppo.Config(**settings, critic=scorer, num_ppo_epochs=1)


def main():
    args = rl_work.arguments(__doc__).parse_args()
    recipe = {"grpo": grpo, "ppo": ppo}[args.task]
    # A user's own reward runs in another process, where no laps of this one are ended.
    BUILT_IN["score"] = score
    with tempfile.TemporaryDirectory() as name:
        with contextlib.redirect_stdout(sys.stderr):
            recipe.main(config_of(args, Path(name)))
        rl_work.report_iterations(
            args, lib="jaxalign", version=jaxalign.__version__, jax=jax.__version__
        )


if __name__ == "__main__":
    main()
