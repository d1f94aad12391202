"""What holds for every script: syntax, help, dry runs; and the table of machines."""

import json
import math
import re
import shutil
import subprocess

import jax
import pytest

from jaxalign.parallel import make_mesh
from jaxalign.recipes.planning.chips import CHIPS, GIB
from jaxalign.recipes.planning.topology import environment
from tests.tpu_setup.conftest import AT, SETUP

LIBRARIES = {"lib.sh", "run_flags.sh"}
SHELL = sorted(path.name for path in SETUP.glob("*.sh"))
SCRIPTS = [name for name in SHELL if name not in LIBRARIES]
TOPOLOGIES = json.loads((SETUP / "topologies.json").read_text())


def test_bash_reads_them():
    for name in SHELL:
        subprocess.run(["bash", "-n", str(SETUP / name)], check=True, timeout=20)


def test_shellcheck_has_nothing_to_say():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    files = [str(SETUP / name) for name in SHELL]
    subprocess.run([program, "-x", "-P", str(SETUP), *files], check=True, timeout=60)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script(cloud, name):
    path = SETUP / name
    text = path.read_text()
    assert text.splitlines()[0] == "#!/usr/bin/env bash"
    assert "\nset -euo pipefail\n" in text
    assert path.stat().st_mode & 0o111
    done = cloud.bash(f"tpu_setup/{name} --help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {name}")
    assert done.stderr == ""
    # Flags that the script knows are those that its help tells of.
    cases = re.findall(r"^\s+((?:-[-a-z| ]+))\)", text, re.MULTILINE)
    known = set(re.findall(r"--[a-z-]+", " ".join(cases))) - {"--help"}
    if "run_flags.sh" in text:
        known |= {"--run-id", "--max-restarts", "--stop", "--status"}
    if "take_common_flags" in text:
        known |= {"--dry-run"}
    told = set(re.findall(r"--[a-z-]+", done.stdout))
    assert known <= told
    assert cloud.calls == []


def test_no_cloud_call_without_a_limit_and_no_text_is_searched():
    for name in SHELL:
        code = re.sub(r"^\s*#.*$", "", (SETUP / name).read_text(), flags=re.MULTILINE)
        assert not re.search(r"\b(grep|awk|eval)\b", code), name
        for line in code.splitlines():
            if re.search(r"(^|[;&|(]|\bact)\s*gcloud\s", line):
                assert "timeout" in line, f"{name}: {line}"


CONFIG = "/dev/null"
VM = f"box {' '.join(AT)} --worker=0"
RUN = "jaxalign-runs/x"
DRY = {
    "create.sh": [
        f"queued-resources create box {' '.join(AT)} --node-id=box "
        "--accelerator-type=v5litepod-8 --runtime-version=v2-alpha-tpuv5-lite "
        "--labels=managed-by=jaxalign "
        "--scopes=https://www.googleapis.com/auth/cloud-platform --spot --format=json"
    ],
    "delete.sh": [
        f"queued-resources delete box {' '.join(AT)} --force --quiet",
    ],
    "list.sh": [],
    "logs.sh x": [
        f"tpu-vm ssh {VM} --ssh-flag=-o\\ ServerAliveInterval=30 "
        f"--command=tail\\ -n\\ 50\\ {RUN}/run.log"
    ],
    "run.sh --stop x": [
        f"tpu-vm ssh {VM} --ssh-flag=-o\\ ServerAliveInterval=30 --command="
        f"bash\\ jaxalign/tpu_setup/host_run.sh\\ stop\\ {RUN}"
    ],
    f"run.sh dpo {CONFIG} --run-id x -- --beta 0.2": [
        f"tpu-vm ssh {VM} --ssh-flag=-o\\ ServerAliveInterval=30 "
        "--command=mkdir\\ -p\\ jaxalign-runs",
        f"tpu-vm scp {CONFIG} box:{RUN}.yaml {' '.join(AT)} --worker=0",
        f"tpu-vm ssh {VM} --ssh-flag=-o\\ ServerAliveInterval=30 --command="
        f"bash\\ jaxalign/tpu_setup/host_run.sh\\ start\\ {RUN}"
        f"\\ --config\\ {RUN}.yaml\\ --max-restarts\\ 20"
        "\\ --bucket\\ buck\\ --\\ env\\ -u\\ LD_PRELOAD\\ WANDB_MODE=disabled"
        "\\ jaxalign/.venv/bin/python\\ -m\\ jaxalign\\ dpo"
        f"\\ --config\\ {RUN}/config.yaml\\ --output-dir\\ {RUN}/out\\ --beta\\ 0.2",
    ],
}


@pytest.mark.parametrize("line", DRY)
def test_dry_runs_print_the_exact_commands(cloud, line):
    name, *words = line.split()
    done = cloud.run(name, "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    lists = [f"{kind} list {' '.join(AT)} --format=json" for kind in KINDS]
    printed = re.sub(
        r"^timeout --kill-after=10 \d+ gcloud compute tpus ",
        "",
        done.stdout,
        flags=re.MULTILINE,
    )
    assert printed.splitlines() == [*lists, *DRY[line]]
    assert cloud.calls == []


KINDS = "queued-resources", "tpu-vm"


def test_the_table_fits_itself_and_the_library():
    for name, entry in TOPOLOGIES.items():
        chips = entry["chips"]
        assert name.endswith(f"-{chips}")  # v5e and v6e count chips
        assert entry["hosts"] == 1
        sides = map(int, entry["plan"].partition(":")[2].split("x"))
        assert math.prod(sides) == chips
        known = CHIPS[entry["kind"]].memory / GIB
        assert entry["hbm_gib"] - 1 < known <= entry["hbm_gib"]
        shapes = [tuple(sorted(mesh.items())) for mesh in entry["meshes"]]
        assert len(set(shapes)) == len(shapes)
        # As many ways as there are to write the chips as an ordered product of three.
        power = chips.bit_length() - 1
        assert len(shapes) == math.comb(power + 2, 2)
        for mesh in entry["meshes"]:
            made = make_mesh(mesh, jax.devices()[:chips])
            assert made.size == chips
            assert 1 not in mesh.values()


@pytest.mark.aot
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_table_fits_the_compiler(name, monkeypatch):
    """In libtpu's own description, with as many chips on a host as the table says."""
    pytest.importorskip("libtpu")
    for key, value in environment(TOPOLOGIES[name]["plan"]).items():
        monkeypatch.setenv(key, value)
    from jax.experimental import topologies

    entry = TOPOLOGIES[name]
    sides = [int(side) for side in entry["plan"].partition(":")[2].split("x")]
    described = topologies.get_topology_desc(
        platform="tpu",
        topology_name=entry["plan"],
        chips_per_host_bounds=[*sides, 1],
    )
    assert len(described.devices) == entry["chips"]
    assert len({d.process_index for d in described.devices}) == entry["hosts"]
    assert {d.device_kind for d in described.devices} == {entry["kind"]}


@pytest.mark.slow
def test_gcloud_accepts_every_command_line(cloud):
    """Its own parser, without a network and without an account."""
    program = shutil.which("gcloud")
    if program is None:
        pytest.skip("gcloud is not installed")
    readme = (SETUP / "README.md").read_text()
    lines = [
        line.strip()
        for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
        for line in block.splitlines()
        if line.strip().startswith("gcloud ")
    ]
    for line in DRY:
        name, *words = line.split()
        printed = cloud.run(name, "--dry-run", *words).stdout.splitlines()
        lines += [text[text.index("gcloud") :] for text in printed]
    for words in ("rsync a gs://b/c --recursive --quiet", "cat gs://b/c"):
        lines.append(f"gcloud storage {words}")
    lines.append("gcloud storage objects list gs://b/** --limit=1 --format=json")
    assert len(lines) > 25
    for line in lines:
        done = subprocess.run(
            [program, "meta", "lint-gcloud-commands", "--command-string", line],
            capture_output=True,
            text=True,
            timeout=120,
        )
        (verdict,) = json.loads(done.stdout)
        assert verdict["success"], (line, verdict["error_message"])
