"""Is this machine ready to train? Prints what was found, and how to mend it.

    .venv/bin/python tpu_setup/doctor.py --accel v5litepod-8 --bucket NAME

Exit code 0: nothing is wrong; 1: something is. A check that cannot be made is skipped
and says why. `--platform cpu` goes through all of it without an accelerator.
"""

import argparse
import json
import pathlib
import sys

import chip_checks
import host_checks
from host_checks import Finding


def find_topology(accelerator: str | None) -> dict | None:
    """The entry of topologies.json; None without an accelerator type."""
    if accelerator is None:
        return None
    path = pathlib.Path(__file__).with_name("topologies.json")
    table = json.loads(path.read_text(encoding="utf-8"))
    if accelerator not in table:
        raise SystemExit(
            f"--accel {accelerator} is not an accelerator type of one host; those are "
            f"{', '.join(table)}."
        )
    return table[accelerator]


def examine(platform: str, topology: dict | None, bucket: str, min_disk: float):
    """Yields findings, the cheap ones first."""
    chips = topology["chips"] if topology else None
    yield host_checks.python_version()
    yield host_checks.versions(platform)
    yield host_checks.disk(pathlib.Path.home(), min_disk)
    yield host_checks.clock()
    yield host_checks.cloud_token(platform)
    yield host_checks.hub_token()
    yield chip_checks.device_files(platform, chips)
    holder = chip_checks.device_holder(platform)
    yield holder
    if holder.state == "wrong":
        why = "another process holds the devices"
        yield Finding("devices", "skipped", why)
    else:
        yield chip_checks.devices(platform, chips)
    yield host_checks.bucket(bucket)


def main() -> int:
    """Prints one line for each finding, and below it what to do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--platform", choices=("tpu", "gpu", "cpu"), default="tpu")
    parser.add_argument("--accel", help="accelerator type, as in topologies.json")
    parser.add_argument("--bucket", default="", help="bucket to write to and read from")
    parser.add_argument(
        "--min-disk", type=float, default=20, help="free space wanted, in GB (20)"
    )
    args = parser.parse_args()
    topology = find_topology(args.accel)
    wrong = 0
    for finding in examine(args.platform, topology, args.bucket, args.min_disk):
        print(f"{finding.state:7}  {finding.name:12}  {finding.text}", flush=True)
        if finding.fix:
            print(f"{'':7}  {'':12}  -> {finding.fix}", flush=True)
        wrong += finding.state == "wrong"
    print(f"{wrong} wrong." if wrong else "Nothing is wrong.")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
