"""One task of TRL's trainers, measured in this process; prints one JSON line.

    python -m experiments.benchmarks.trl_peer --task sft --shape A

Run it with an interpreter that has torch and trl. `--platform gpu --dtype bfloat16` is
one GPU with float32 parameters and matrix products in bfloat16 (autocast).
"""

import argparse
import os
import tempfile
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"

from experiments.benchmarks import shapes
from experiments.benchmarks.clock import Laps, arguments, report_updates
from experiments.benchmarks.ids import Row, updates_of


def model_of(shape: shapes.Shape, folder: str):
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    model = transformers.LlamaForCausalLM(config)
    model.config._name_or_path = folder
    return model


def tokenizer_of():
    """Trainers want one; with ids given they take the padding token from it alone."""
    import tokenizers  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    words = tokenizers.models.WordLevel({"<pad>": 0, "</s>": 1}, unk_token="<pad>")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(words),
        pad_token="<pad>",
        eos_token="</s>",
    )


def columns_of(rows: list[Row]) -> dict[str, list[list[int]]]:
    if len(rows[0]) == 1:
        return {
            "input_ids": [x.ids for (x,) in rows],
            "labels": [[-100] * x.prompt + x.ids[x.prompt :] for (x,) in rows],
        }
    return {
        "prompt_ids": [x.ids[: x.prompt] for x, _ in rows],
        "chosen_ids": [x.ids[x.prompt :] for x, _ in rows],
        "rejected_ids": [y.ids[y.prompt :] for _, y in rows],
    }


def lap_callback(laps: Laps):
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    class EndOfUpdate(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if torch.cuda.is_initialized():  # what was asked for is not yet done
                torch.cuda.synchronize()
            laps.lap()

    return EndOfUpdate()


def quiet_settings(
    folder: str, *, checkpointing: bool, platform: str = "cpu", dtype: str = "float32"
) -> dict[str, Any]:
    """What all trainers are told: where and how to compute; to write only in `folder`.

    Args:
      folder: For what a trainer writes.
      checkpointing: Compute activations anew in the backward pass.
      platform: `cpu` or `gpu`.
      dtype: Of matrix products; parameters are float32 in any case.
    """
    return {
        "output_dir": folder,
        "gradient_checkpointing": checkpointing,
        "bf16": dtype == "bfloat16",
        "use_cpu": platform == "cpu",
        "dataloader_pin_memory": platform == "gpu",
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def trainer_of(args, updates: list[list[Row]], folder: str, laps: Laps):
    import datasets  # pyright: ignore[reportMissingImports]
    import trl  # pyright: ignore[reportMissingImports]

    batch = len(updates[0])
    at_a_time = args.per_device or (4 if args.rows else batch)
    if batch % at_a_time:
        raise SystemExit(f"--per-device {at_a_time} does not divide {batch} examples")
    common: dict[str, Any] = {
        **quiet_settings(
            folder,
            checkpointing=args.checkpointing,
            platform=args.platform,
            dtype=args.dtype,
        ),
        "max_steps": len(updates),
        "per_device_train_batch_size": at_a_time,
        "gradient_accumulation_steps": batch // at_a_time,
        "learning_rate": shapes.LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "max_grad_norm": shapes.MAX_GRAD_NORM,
        "train_sampling_strategy": "sequential",
        "logging_first_step": True,
        "logging_steps": len(updates),
    }
    longest = max(len(x.ids) for update in updates for row in update for x in row)
    preference = len(updates[0][0]) == 2
    rows = [row for update in updates for row in update]
    given = {
        "model": model_of(shapes.SHAPES[args.shape], folder),
        "train_dataset": datasets.Dataset.from_dict(columns_of(rows)),
        "processing_class": tokenizer_of(),
        "callbacks": [lap_callback(laps)],
    }
    if not preference:
        config = trl.SFTConfig(max_length=longest, **common)
        return trl.SFTTrainer(args=config, **given), at_a_time

    class OnIds(trl.DPOTrainer):
        def _prepare_dataset(self, dataset, *args, **kwargs):
            return dataset  # has ids already, where the trainer would tokenize text

    config = trl.DPOConfig(
        max_length=longest,
        beta=shapes.DPO_BETA,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=at_a_time,
        **common,
    )
    return OnIds(args=config, **given), at_a_time


def measure(args):
    updates = updates_of(args.task, shapes.SHAPES[args.shape], args.rows, args.steps)
    laps = Laps()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = folder  # before the library is imported
        import torch  # pyright: ignore[reportMissingImports]
        import trl  # pyright: ignore[reportMissingImports]

        trainer, at_a_time = trainer_of(args, updates, folder, laps)
        laps.start()
        trainer.train()
        losses = [x["loss"] for x in trainer.state.log_history if "loss" in x]
    first = laps.drop(1)
    report_updates(
        laps,
        updates,
        args,
        lib="trl",
        version=trl.__version__,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        first_loss=losses[0],
        first_step_s=first,
        settings=f"{at_a_time} rows a forward pass, dynamic padding, "
        f"gradient checkpointing {'on' if args.checkpointing else 'off'}, "
        f"{args.dtype}",
        **(gpu_facts(torch) if args.platform == "gpu" else {}),
    )


def gpu_facts(torch) -> dict[str, Any]:
    """Name of the GPU, and the most that its tensors took."""
    peak = torch.cuda.max_memory_allocated() / 2**20
    return {"device": torch.cuda.get_device_name(), "peak_gpu_mb": peak}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line of this script."""
    parser = arguments(__doc__)
    parser.add_argument("--per-device", type=int, help="examples of a forward pass")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--platform", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="of products",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    measure(parse())
