"""SIGTERM at random moments of every phase: exit 75 in time, and no bit is lost.

    python -m experiments.reliability.moments --model DIR --out DIR

Claim: wherever a run is when it is asked to stop, it ends with exit code 75 within 2 s
and what a step under way and a save take (the longest of each in the run that was left
alone); leaves nothing half-written; and the same command goes
on to the parameters, metrics, completions and export of a run that was left alone, bit
for bit.

Real `jaxalign dpo` and `jaxalign grpo` processes on the model of `--model` get the
signal at ten seeded random moments in each of eight phases (`watched.py` knows the
phase from what the process tells). The moment is drawn from a run that was left alone;
where the signal came a little beside the phase, another one is drawn, and both counts
are in the table. `moments.json` and `moments.md` are written to `--out`.

Expected: 80 of 80 stop in time and end equal; see README.md. About 15 minutes on two
CPU cores with a model of 260,000 parameters.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import random
import shutil
import statistics
import time
from pathlib import Path

from experiments.reliability import commands, watched
from experiments.reliability.watched import Span, Watched

COMMANDS = {
    "loading": "dpo",
    "reference": "dpo",
    "compile": "dpo",
    "step": "dpo",
    "evaluation": "dpo",
    "save": "dpo",
    "rollout": "grpo",
    "reward wait": "grpo",
}
PROMPT = 2.0  # seconds in which a run stops, beside a step and a save
STOPPED = 75
_STEP = "jit_step"  # how files of the cache begin that hold a compiled update


@dataclasses.dataclass(frozen=True)
class Straight:
    """A run that was left alone: what came of it, and when it was in which phase."""

    command: list[str]
    result: dict
    spans: list[Span]
    cache: Path

    @property
    def limit(self) -> float:
        """Seconds in which a run has to stop."""
        longest = {"step": 0.0, "save": 0.0}
        for x in self.spans:
            if x.phase in longest and x.end is not None:
                longest[x.phase] = max(longest[x.phase], x.end - x.start)
        return PROMPT + sum(longest.values())


@dataclasses.dataclass(frozen=True)
class Moment:
    """One interrupted run.

    Attributes:
      phase: In which it was to be interrupted.
      inside: Whether the signal did fall into that phase.
      number: Of the phase's spans, from 0.
      after: Seconds into the span.
      exit_code: Of the run that got the signal.
      seconds: From the signal to its end.
      then: The phases that went on or began after the signal, with their seconds; the
        last went on to the end.
      in_time: Whether those are within the limit.
      half_written: What it left that is not whole.
      equal: Whether the same command then ended as the run that was left alone.
      differing: In what it did not.
    """

    phase: str
    inside: bool
    number: int
    after: float
    exit_code: int
    seconds: float
    then: list[str]
    in_time: bool
    half_written: list[str]
    equal: bool
    differing: list[str]


def main() -> None:
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    straight = {}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name in sorted({COMMANDS[x] for x in args.phases}):
            command = getattr(commands, name)(args.model, args.out)
            cache = args.out / f"{name}-compiled"
            straight[name] = pool.submit(leave_alone, command, args.out, cache)
        straight = {name: x.result() for name, x in straight.items()}

        def one(phase: str, number: int) -> Moment:
            folder = args.out / f"{phase.replace(' ', '-')}-{number}"
            rng = random.Random(f"{args.seed} {phase} {number}")
            return watched_moment(phase, straight[COMMANDS[phase]], folder, rng, args)

        found: list[Moment] = []
        for again in range(3):  # where a signal came beside its phase, another one
            due = {
                x: args.moments - sum(y.inside for y in found if y.phase == x)
                for x in args.phases
            }
            drawn = [
                pool.submit(one, x, 100 * again + n)
                for n in range(max(due.values()))
                for x in args.phases
                if n < due[x]
            ]
            found += [x.result() for x in drawn]
    (args.out / "moments.json").write_text(
        json.dumps([dataclasses.asdict(x) for x in found], indent=1) + "\n"
    )
    limits = {x: straight[COMMANDS[x]].limit for x in args.phases}
    (args.out / "moments.md").write_text(text := table(found, limits))
    print(text)
    if not all(is_right(x) for x in found):
        raise SystemExit("a run was not as it should be; see moments.json")


def watched_moment(phase, straight, folder, rng, args) -> Moment:
    """One interrupted run, told in a line; its folder goes if all was right."""
    found = interrupt(phase, straight, folder, rng, urgent=args.urgent)
    with (args.out / "moments.jsonl").open("a") as lines:  # what there is so far
        lines.write(json.dumps(dataclasses.asdict(found)) + "\n")
    print(found, flush=True)
    if is_right(found):
        shutil.rmtree(folder)
    return found


def leave_alone(command: list[str], out: Path, cache: Path) -> Straight:
    """Runs to the end: once to compile, and once to see how long each phase takes."""
    for name in ("first", "straight"):
        folder = out / f"{command[0]}-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        run = Watched(command, folder, cache)
        if run.end():
            raise SystemExit(f"{command[0]} failed: {folder.with_suffix('.log')}")
    return Straight(command, dict(watched.result(folder)), run.phases.spans, cache)


def interrupt(
    phase: str,
    straight: Straight,
    folder: Path,
    rng: random.Random,
    *,
    urgent: bool = False,
) -> Moment:
    """One run that gets SIGTERM, and the same command again."""
    number, after = draw(phase, straight.spans, rng)
    shutil.rmtree(folder, ignore_errors=True)
    cache = straight.cache
    if phase == "compile":  # all but the update is there compiled
        cache = folder.with_name(f"{folder.name}-compiled")
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(straight.cache, cache)
        for file in cache.glob(f"{_STEP}*"):
            file.unlink()
    run = Watched(straight.command, folder, cache)
    span = run.phases.wait(phase, number, lambda: run.is_alive)
    if span is not None:
        time.sleep(max(0.0, span.start + after - watched.now()))
    if urgent:
        run.hurry()
    run.process.terminate()
    sent = watched.now()
    code = run.end(120)
    seconds = watched.now() - sent
    half_written = watched.half_written(folder) if code == STOPPED else []
    again = Watched(straight.command, folder, straight.cache)
    again.end()
    try:
        result = dict(watched.result(folder))
    except (OSError, ValueError) as error:
        result = {"none": str(error)}
    both = result.keys() | straight.result.keys()
    differing = sorted(x for x in both if result.get(x) != straight.result.get(x))
    if cache != straight.cache:
        shutil.rmtree(cache)
    return Moment(
        phase=phase,
        inside=phase in run.phases.at(sent),
        number=number,
        after=round(after, 4),
        exit_code=code,
        seconds=round(seconds, 3),
        then=[
            f"{x.phase} {(x.end or sent + seconds) - max(x.start, sent):.2f}"
            for x in run.phases.spans
            if x.end is None or x.end > sent
        ],
        in_time=seconds <= straight.limit,
        half_written=half_written,
        equal=not differing,
        differing=differing,
    )


def draw(phase: str, spans: list[Span], rng: random.Random) -> tuple[int, float]:
    """A moment of the phase, every one as likely: the number of a span, and seconds."""
    lengths = [x.end - x.start for x in spans if x.phase == phase and x.end]
    (number,) = rng.choices(range(len(lengths)), weights=lengths)
    return number, rng.uniform(0, lengths[number])


def is_right(x: Moment) -> bool:
    return x.exit_code == STOPPED and x.in_time and not x.half_written and x.equal


def table(found: list[Moment], limits: dict[str, float]) -> str:
    """What a person reads of it, in Markdown."""
    lines = [
        "| phase | signals | in the phase | exit 75 | seconds: median, longest | limit "
        "| whole | resumed, equal bit for bit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for phase, limit in limits.items():
        of = [x for x in found if x.phase == phase]
        seconds = [x.seconds for x in of]
        lines.append(
            f"| {phase} | {len(of)} | {sum(x.inside for x in of)} "
            f"| {sum(x.exit_code == STOPPED for x in of)} "
            f"| {statistics.median(seconds):.2f}, {max(seconds):.2f} | {limit:.2f} "
            f"| {sum(not x.half_written for x in of)} | {sum(x.equal for x in of)} |"
        )
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a small one")
    parser.add_argument("--out", type=Path, required=True, help="of all runs")
    parser.add_argument("--moments", type=int, default=10, help="of each phase")
    parser.add_argument("--phases", nargs="+", default=list(COMMANDS), choices=COMMANDS)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument(
        "--urgent",
        action="store_true",
        help="a run goes before others once it has its signal, as root may decide: for "
        "times on a machine with other work",
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.model, args.out = args.model.absolute(), args.out.absolute()
    return args


if __name__ == "__main__":
    main()
