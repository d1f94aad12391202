"""Iterations of TRL's GRPO or PPO trainer, measured in this process; prints one line.

    python -m experiments.benchmarks.rl_trl --task grpo --shape A

Run it with an interpreter that has torch and trl. PPO left TRL after 1.12; `--trl DIR`
names a folder with that version (`pip install --no-deps --target DIR trl==1.12.0`).
"""

import os
import sys
import tempfile
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

from experiments.benchmarks import rl_work
from experiments.benchmarks.generation_work import BATCH, NEW
from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.trl_peer import lap_callback, model_of, quiet_settings


def tokenizer_of(shape):
    import tokenizers  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    words = tokenizers.models.WordLevel(rl_work.words_of(shape), unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
    )


def settings_of(args, folder: str, iterations: int) -> dict[str, Any]:
    return {
        **quiet_settings(folder, checkpointing=args.checkpointing),
        "per_device_train_batch_size": BATCH,
        "learning_rate": rl_work.LEARNING_RATE,
        "logging_steps": iterations,
    }


def grpo_trainer(args, shape, folder: str, iterations: int):
    import datasets  # pyright: ignore[reportMissingImports]
    import trl  # pyright: ignore[reportMissingImports]

    def reward(completions, **_):
        return rl_work.score(completions)

    model = model_of(shape, folder)
    model.save_pretrained(folder)  # the reference is loaded from there
    answers = rl_work.ANSWERS["grpo"]
    prompts = rl_work.prompt_words(shape, iterations * BATCH // answers)
    config = trl.GRPOConfig(
        max_steps=iterations,
        loss_type="grpo",
        beta=rl_work.KL_COEF["grpo"],
        num_generations=answers,
        max_completion_length=NEW,
        generation_kwargs={"min_new_tokens": NEW},
        **settings_of(args, folder, iterations),
    )
    return trl.GRPOTrainer(
        model=model,
        args=config,
        reward_funcs=reward,
        train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer_of(shape),
    )


def scalar_model(shape, folder: str):
    import transformers  # pyright: ignore[reportMissingImports]

    config = model_of(shape, folder).config
    config.num_labels = 1
    return transformers.LlamaForSequenceClassification(config)


def ppo_trainer(args, shape, folder: str, iterations: int):
    import datasets  # pyright: ignore[reportMissingImports]
    from trl.experimental.ppo import (  # pyright: ignore[reportMissingImports]
        PPOConfig,
        PPOTrainer,
    )

    tokenizer = tokenizer_of(shape)
    prompts = rl_work.prompt_words(shape, iterations * BATCH)
    rows = datasets.Dataset.from_dict(
        {"input_ids": [tokenizer.encode(x) for x in prompts]}
    )
    config = PPOConfig(
        total_episodes=iterations * BATCH,
        num_ppo_epochs=1,
        num_mini_batches=1,
        response_length=NEW,
        temperature=1.0,
        kl_coef=rl_work.KL_COEF["ppo"],
        local_rollout_forward_batch_size=BATCH,
        num_sample_generations=0,
        **settings_of(args, folder, iterations),
    )
    return PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=model_of(shape, folder),
        ref_model=model_of(shape, folder),
        reward_model=scalar_model(shape, folder),
        value_model=scalar_model(shape, folder),
        train_dataset=rows,
        eval_dataset=rows,
        callbacks=[lap_callback(rl_work.laps)],
    )


def measure(args):
    shape = SHAPES[args.shape]
    iterations = args.steps + rl_work.COMPILING + 1
    make = {"grpo": grpo_trainer, "ppo": ppo_trainer}[args.task]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = folder  # before the library is imported
        import torch  # pyright: ignore[reportMissingImports]
        import trl  # pyright: ignore[reportMissingImports]

        trainer = make(args, shape, folder, iterations)
        rl_work.laps.start()
        trainer.train()
    rl_work.report_iterations(
        args,
        lib="trl",
        version=trl.__version__,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        settings="gradient checkpointing " + ("on" if args.checkpointing else "off"),
    )


def main():
    parser = rl_work.arguments(__doc__)
    parser.add_argument("--trl", metavar="DIR", help="folder of another version")
    parser.add_argument("--checkpointing", action="store_true")
    args = parser.parse_args()
    if args.trl:
        sys.path.insert(0, args.trl)
    measure(args)


if __name__ == "__main__":
    main()
