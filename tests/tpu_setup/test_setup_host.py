"""The VM is made ready once; a second time nothing changes."""

import subprocess

import pytest

from tests.tpu_setup.conftest import SETUP

# Plays a Python that has venv: makes a .venv whose python notes what it is asked for.
PYTHON = """#!/usr/bin/env bash
case $1 in
  -c) exit 0 ;;
  --version) echo "Python 3.11.0" ;;
  -m)
    mkdir -p "$3/bin"
    echo "venv $3" >>"$FAKE_CLOUD/made"
    printf '#!/usr/bin/env bash\\necho "$@" >>"$FAKE_CLOUD/made"\\n' >"$3/bin/python"
    chmod +x "$3/bin/python"
    ;;
esac
"""
OLD = "#!/usr/bin/env bash\nexit 1\n"
APT = """#!/usr/bin/env bash
# Plays sudo: apt's lock is held at first, and python3.11 is there after the install.
echo "$*" >>"$FAKE_CLOUD/sudo"
if [[ -e $FAKE_CLOUD/locked ]]; then
  rm "$FAKE_CLOUD/locked"
  exit 100
fi
[[ $* != *install* ]] || mv "$FAKE_CLOUD/later" "$FAKE_CLOUD/bin/python3.11"
"""


@pytest.fixture
def vm(cloud):
    """A VM with a commit of a small checkout to be sent."""
    cloud.add_node("box")
    cloud.program("python3.12", OLD)
    cloud.program("python3.11", PYTHON)
    checkout = cloud.root / "checkout"
    checkout.mkdir()
    (checkout / "tpu_setup").mkdir()
    for path in SETUP.iterdir():
        if path.is_file():
            (checkout / "tpu_setup" / path.name).write_bytes(path.read_bytes())
    (checkout / "pyproject.toml").write_text("[project]\n")
    (checkout / "constraints.txt").write_text("jax==1\n")
    (checkout / "a name.txt").write_text("1\n")
    commit(cloud, "init", "-q")
    return cloud


def commit(cloud, *first):
    git = ["git", "-C", str(cloud.root / "checkout"), "-c", "user.name=x"]
    git += ["-c", "user.email=x@x"]
    commands = ([first] if first else []) + [["add", "-A"], ["commit", "-qm", "x"]]
    for words in commands:
        subprocess.run([*git, *words], check=True)


def set_up(vm):
    script = vm.root / "checkout/tpu_setup/setup_host.sh"
    return vm.bash(f"bash '{script}' --env '{vm.env_file}'")


def made(vm):
    path = vm.root / "made"
    return path.read_text().splitlines() if path.exists() else []


def test_made_ready_once(vm):
    done = set_up(vm)
    assert done.returncode == 0, done.stderr
    home = vm.home / "jaxalign"
    assert (home / "a name.txt").read_text() == "1\n"
    pip = "-m pip install --quiet --disable-pip-version-check"
    doctor = f"{home}/tpu_setup/doctor.py --platform tpu --accel v5litepod-8"
    assert made(vm) == [
        f"venv {home}/.venv",
        f"{pip} -c {home}/constraints.txt -e {home}[tpu]",
        f"{doctor} --bucket buck",
    ]
    before = sorted((p, p.stat().st_mtime_ns) for p in home.rglob("*"))
    done = set_up(vm)
    assert done.returncode == 0, done.stderr
    assert made(vm)[3:] == [f"{doctor} --bucket buck"]
    assert sorted((p, p.stat().st_mtime_ns) for p in home.rglob("*")) == before
    assert "are there." in done.stderr
    assert not any("scp" in call for call in vm.calls[6:])


def test_a_new_commit_and_new_requirements(vm):
    set_up(vm)
    checkout = vm.root / "checkout"
    (checkout / "a name.txt").unlink()
    (checkout / "constraints.txt").write_text("jax==2\n")
    (checkout / "left.txt").write_text("")
    commit(vm)
    (checkout / "dirty.txt").write_text("")
    done = set_up(vm)
    assert done.returncode == 0, done.stderr
    assert "not committed" in done.stderr
    home = vm.home / "jaxalign"
    names = {path.name for path in home.iterdir()}
    assert "left.txt" in names
    assert not names & {"dirty.txt", "a name.txt"}
    assert (vm.home / "jaxalign.old/a name.txt").exists()
    assert sum("pip install" in line for line in made(vm)) == 2


def test_doctor_decides(vm):
    text = PYTHON.replace('"$FAKE_CLOUD/made"\\n', '"$FAKE_CLOUD/made"; exit 1\\n')
    vm.program("python3.11", text)
    assert set_up(vm).returncode == 1


def test_waits_for_the_lock_of_apt(vm):
    (vm.bin / "python3.11").rename(vm.root / "later")
    vm.program("python3", OLD)
    vm.program("python3.11", OLD)
    vm.program("apt-get", OLD)
    vm.program("sudo", APT)
    (vm.root / "locked").touch()
    script = vm.root / "checkout/tpu_setup/setup_host.sh"
    done = vm.bash(f"bash '{script}' --here")
    assert done.returncode == 0, done.stderr
    update = "timeout 600 apt-get update -q"
    install = "timeout 900 apt-get install -q -y --no-remove"
    assert (vm.root / "sudo").read_text().splitlines() == [
        *[update, update],
        f"{install} python3.11 python3.11-venv",
    ]
    assert "a fresh VM holds apt's lock" in done.stderr
    assert len(made(vm)) == 3


def test_does_not_wait_for_ever(vm):
    for name in ("python3", "python3.11", "apt-get", "sudo"):
        vm.program(name, OLD)
    script = vm.root / "checkout/tpu_setup/setup_host.sh"
    done = vm.bash(f"bash '{script}' --here", APT_WAIT="0")
    assert done.returncode == 1
    assert "Another program may hold apt's lock" in done.stderr
