"""A job that is killed again and again through its reference pass gets to its end.

    python -m experiments.reliability.killed --model DIR --out DIR

Claim: `jaxalign dpo` whose reference pass takes about ten minutes, and which gets
SIGTERM every 60 s (and SIGKILL 5 s later, if it is still there), ends, because scored
log-probabilities are kept; and it ends with the parameters, metrics and export of a run
that was left alone, bit for bit.

The model is drawn at random in a larger size with the tokenizer of `--model`, so that
the pass takes its time; `--pairs` and `--every` scale both down. With `--kill` the job
gets SIGKILL at once, as from a machine that is lost.

Expected: 12 to 20 starts, and an equal end; see README.md. About 30 minutes on two CPU
cores.
"""

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path

import jax
import numpy as np

from experiments.reliability import commands, watched
from experiments.reliability.watched import Watched
from jaxalign.models import Transformer, export_model, init_params, read_config

PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL
_SIZES = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8}
_HEADS = {"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 64}


def main() -> None:
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    command = job(args.model, args.out, args.pairs, args.quick)
    cache = args.out / "compiled"
    found = {}
    if not args.only_killed:
        found["left alone"] = left_alone(command, args.out / "straight", cache)
    found["killed"] = killed(
        command, args.out / "killed", cache, args.every, at_once=args.kill
    )
    both = watched.result(args.out / "straight"), watched.result(args.out / "killed")
    found["equal"] = both[0] == both[1]
    (args.out / "killed.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if not found["equal"]:
        raise SystemExit("the killed job ended otherwise than the one left alone")


def job(model: Path, out: Path, pairs: int, quick: bool) -> list[str]:
    """The command: a long pass over the pairs, and a few updates."""
    rows = commands.write_pairs(out / "pairs.jsonl", pairs, words=100)
    if not quick:
        model = enlarged(model, out / "model")
    return commands.flags(
        "dpo",
        model=model,
        data=rows,
        batch_size=8,
        max_steps=3,
        save_steps=1,
        samples=0,
        **{"optimizer.learning-rate": 1e-4},
    )


def enlarged(model: Path, folder: Path) -> Path:
    """A model of 34 million parameters, with the tokenizer of another one."""
    if folder.exists():
        return folder
    source = folder.with_name("source")
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for file in model.iterdir():
        if file.suffix == ".json":
            (source / file.name).write_bytes(file.read_bytes())
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | _SIZES | _HEADS))
    described = read_config(source)
    params = init_params(Transformer(described), jax.random.key(0))
    return export_model(folder, described, params, source=source, dtype="float32")


def left_alone(command: list[str], folder: Path, cache: Path) -> dict:
    """A run to its end, and how long its phases took."""
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.monotonic()
    run = Watched(command, folder, cache)
    if run.end():
        raise SystemExit(f"the job failed: {folder.with_suffix('.log')}")
    passes = [x.end - x.start for x in run.phases.of("reference") if x.end]
    return {
        "seconds": round(time.monotonic() - begin, 1),
        "reference seconds": round(sum(passes), 1),
    }


def killed(
    command: list[str], folder: Path, cache: Path, every: float, *, at_once: bool
) -> dict:
    """Starts the job until it ends; each start is stopped after `every` seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    begin, codes, seconds, kept = time.monotonic(), [], [], []
    while True:
        run = Watched(command, folder, cache)
        try:
            codes.append(run.process.wait(every))
            run.end()
            break
        except subprocess.TimeoutExpired:
            pass
        sent = time.monotonic()
        if at_once:
            run.process.kill()
        else:
            run.process.terminate()
        try:
            run.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            run.process.kill()
        codes.append(run.end())
        seconds.append(round(time.monotonic() - sent, 2))
        kept.append(batches_kept(folder))
        print(
            f"start {len(codes)}: exit {codes[-1]}, batches kept {kept[-1]}", flush=True
        )
        if len(codes) > 100:
            raise SystemExit("a hundred starts, and no end")
    return {
        "every": every,
        "starts": len(codes),
        "exit codes": codes,
        "seconds to stop": seconds,
        "batches kept": kept,
        "seconds": round(time.monotonic() - begin, 1),
    }


def batches_kept(folder: Path) -> int:
    """How many batches of the reference pass are on disk whole."""
    from safetensors.numpy import load_file

    files = (folder / "cache").glob("ref_logps_*/*.safetensors")
    return sum(len(np.unique(load_file(x)["batches"])) for x in files)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="for its tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="of all runs")
    parser.add_argument("--pairs", type=int, default=1600)
    parser.add_argument("--every", type=float, default=60.0, help="seconds")
    parser.add_argument("--kill", action="store_true", help="SIGKILL at once")
    parser.add_argument("--quick", action="store_true", help="the model as it is")
    parser.add_argument("--only-killed", action="store_true", help="the other is there")
    args = parser.parse_args()
    args.model, args.out = args.model.absolute(), args.out.absolute()
    return args


if __name__ == "__main__":
    main()
