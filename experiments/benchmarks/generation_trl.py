"""Generation as TRL's trainers have it, transformers' `generate`; prints one JSON line.

    python -m experiments.benchmarks.generation_trl --shape A

Run it with an interpreter that has torch and trl.
"""

from experiments.benchmarks.generation_work import (
    NEW,
    arguments,
    prompts_of,
    report_generation,
    time_calls,
)
from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.trl_peer import model_of


def measure(args):
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    shape = SHAPES[args.shape]
    model = model_of(shape, "").eval()
    ids = torch.tensor(prompts_of(shape))
    config = transformers.GenerationConfig(
        max_new_tokens=NEW,
        do_sample=True,
        top_k=0,
        temperature=1.0,
        pad_token_id=0,
        eos_token_id=None,
        use_cache=True,
    )
    model.generation_config = config

    def call() -> list[int]:
        with torch.inference_mode():
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=config
            )
        return [out.shape[1] - ids.shape[1]] * len(ids)

    report_generation(
        "generate",
        args,
        time_calls(call, args.steps),
        lib="trl",
        version=transformers.__version__,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    measure(arguments(__doc__).parse_args())
