"""A job that is killed again and again through its reference pass gets to its end.

    python -m experiments.reliability.killed --model DIR --out DIR

Claim: `jaxalign dpo` whose reference pass takes about ten minutes, and which gets
SIGTERM every 60 s (and SIGKILL 5 s later, if it is still there), ends, because scored
log-probabilities are kept; and it ends with the parameters, metrics and export of a run
that was left alone, bit for bit.

The model is small, and the library's own hook for tests (`delay@reference`) makes each
of the 100 batches of the pass wait for six seconds, as long as a large one takes; the
run that was left alone does not wait. With `--kill` the job gets SIGKILL at once, as on
a machine that is lost. `--every` and `--delay` scale it down.

Expected: ten to twenty starts, and an equal end; see README.md. About 15 minutes.
"""

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from experiments.reliability import commands, watched
from experiments.reliability.watched import Watched

PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL
BATCH = 8


def main() -> None:
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    command, cache = job(args.model, args.out, args.batches), args.out / "compiled"
    found = {
        "batches": args.batches,
        "seconds of a batch": args.delay,
        "left alone": left_alone(command, args.out / "straight", cache),
        "killed": killed(
            command,
            args.out / "killed",
            cache,
            every=args.every,
            delay=args.delay,
            at_once=args.kill,
        ),
    }
    both = watched.result(args.out / "straight"), watched.result(args.out / "killed")
    found["equal"] = both[0] == both[1]
    (args.out / "killed.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if not found["equal"]:
        raise SystemExit("the killed job ended otherwise than the one left alone")


def job(model: Path, out: Path, batches: int) -> list[str]:
    """The command: one pass over so many batches, and as many updates."""
    rows = commands.write_pairs(out / "pairs.jsonl", BATCH * batches)
    return commands.flags(
        "dpo",
        model=model,
        data=rows,
        batch_size=BATCH,
        save_steps=20,
        samples=0,
        **{"optimizer.learning-rate": 1e-4},
    )


def left_alone(command: list[str], folder: Path, cache: Path) -> dict:
    """A run to its end, and how long it took."""
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.monotonic()
    if Watched(command, folder, cache).end():
        raise SystemExit(f"the job failed: {folder.with_suffix('.log')}")
    return {"seconds": round(time.monotonic() - begin, 1)}


def killed(
    command: list[str],
    folder: Path,
    cache: Path,
    *,
    every: float,
    delay: float,
    at_once: bool,
) -> dict:
    """Starts the job until it ends; each start is stopped after `every` seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    begin, codes, seconds, kept = time.monotonic(), [], [], []
    while True:
        run = Watched(command, folder, cache, faults=f"delay@reference*{delay:g}")
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
        print(f"start {len(codes)}: exit {codes[-1]}, {kept[-1]} batches", flush=True)
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
    files = (folder / "cache").glob("ref_logps_*/*.safetensors")
    return sum(len(np.unique(load_file(x)["batches"])) for x in files)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a small one")
    parser.add_argument("--out", type=Path, required=True, help="of all runs")
    parser.add_argument("--batches", type=int, default=100, help="of the pass")
    parser.add_argument("--delay", type=float, default=6.0, help="seconds of a batch")
    parser.add_argument("--every", type=float, default=60.0, help="seconds")
    parser.add_argument("--kill", action="store_true", help="SIGKILL at once")
    args = parser.parse_args()
    args.model, args.out = args.model.absolute(), args.out.absolute()
    return args


if __name__ == "__main__":
    main()
