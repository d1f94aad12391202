"""The commands of the README run as they stand, in the cloud that is played."""

import re
import shutil

from tests.tpu_setup.conftest import SETUP
from tests.tpu_setup.test_run import PYTHON as JAXALIGN
from tests.tpu_setup.test_setup_host import PYTHON

README = (SETUP / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def run_to_its_end(line):
    """A line; behind one that starts a run, a pause until the lock is free again."""
    if "--stop" in line:
        return f"{line.partition('#')[0]} || test $? = 2  # it has ended already"
    if re.search(r"/run\.sh (dpo|sft)", line):
        return f"{line.partition('#')[0]}\nflock ~/jaxalign-runs/lock true"
    if re.search(r"/gpu_local\.sh dpo", line):
        return f"{line}\nflock jaxalign-runs/lock true"
    return line


def test_every_block_runs(cloud):
    checkout = cloud.root / "checkout"
    shutil.copytree(
        SETUP,
        checkout / "tpu_setup",
        ignore=shutil.ignore_patterns("tpu.env", "__pycache__"),
    )
    for name in ("dpo.yaml", "sft.yaml", "pyproject.toml", "constraints.txt"):
        (checkout / name).write_text("{}\n")
    # The VM's Python makes a .venv whose own plays the library.
    played = cloud.root / "played"
    played.write_text(JAXALIGN)
    (cloud.home / "codes").touch()
    copy = f"cp '{played}' \"$3/bin/python\"\n    chmod +x"
    made = re.sub(r"printf .*\n    chmod \+x", lambda _: copy, PYTHON)
    cloud.program("python3.12", made)
    cloud.program("nvidia-smi", "#!/bin/sh\n")
    # The pause between two looks at the queue is not waited for.
    pause = '#!/bin/sh\n[ "$1" = 15 ] || exec /bin/sleep "$1"\n'
    cloud.program("sleep", pause)
    script = [
        "set -euo pipefail",
        'git() { command git -c user.name=x -c user.email=x@x "$@"; }',
        f"cd '{checkout}'; git init -q; git add -A; git commit -qm x",
    ]
    for block in BLOCKS:
        if block.startswith("tpu_setup/list.sh"):  # whoever reads on has a VM again
            script.append("tpu_setup/create.sh --poll 0")
        for line in block.splitlines():
            script.append(run_to_its_end(line.strip()))
    done = cloud.bash("\n".join(script))
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.state["queued"] == cloud.state["nodes"] == {}


def test_the_trouble_table_is_keyed_by_messages():
    table = README.partition("## Trouble")[2].partition("## One machine")[0]
    rows = re.findall(r"^\| `(.*?)` \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    sources = "".join(path.read_text() for path in SETUP.glob("*.*"))
    sources = sources.replace(README, "")
    for message, advice in rows:
        assert advice.endswith(".")
        if advice.startswith("From `"):
            assert message in sources


def test_what_it_names_is_there():
    for name in re.findall(r"\b(\w+\.(?:sh|py|json))\b", README):
        assert (SETUP / name).exists(), name
    for script, words in re.findall(r"tpu_setup/(\w+\.sh)([^\n#`]*)", README):
        told = (SETUP / script).read_text().partition("\nset -euo")[0]
        for flag in re.findall(r"--[a-z-]+", words.partition(" -- ")[0]):
            assert flag in told, (script, flag)
