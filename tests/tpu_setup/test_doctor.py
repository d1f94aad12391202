"""Each check finds what is planted, names the fix, and is quiet on a sound host."""

import doctest
import email.utils
import http.server
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.tpu_setup.conftest import SETUP

sys.path.append(str(SETUP))

import chip_checks
import host_checks


@pytest.fixture
def tpu(tmp_path):
    """/dev and /proc of a VM with four chips, where process 1 has other files open."""
    dev, proc = tmp_path / "dev", tmp_path / "proc"
    (dev / "vfio").mkdir(parents=True)
    for name in ("0", "1", "2", "3", "vfio"):
        (dev / "vfio" / name).touch()
    process = proc / "1"
    (process / "fd").mkdir(parents=True)
    (process / "fd/0").symlink_to(dev / "vfio/vfio")
    (process / "cmdline").write_bytes(b"python\0train.py\0--beta\0")
    return tmp_path


@pytest.fixture
def server():
    """Tells a time that is off by `skew` seconds, and scopes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        skew, scopes = 0.0, "https://www.googleapis.com/auth/cloud-platform\n"

        def date_time_string(self, timestamp=None):
            return email.utils.formatdate(time.time() + self.skew, usegmt=True)

        def do_HEAD(self):
            self.send_response(404 if self.path == "/none" else 200)
            self.end_headers()

        def do_GET(self):
            assert self.headers["Metadata-Flavor"] == "Google"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.scopes.encode())

        def log_message(self, *words):
            del words

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield Handler, f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_device_files(tpu):
    check = chip_checks.device_files
    assert check("tpu", 4, tpu / "dev").state == "fine"
    found = check("tpu", 8, tpu / "dev")
    assert found.state == "wrong"
    assert "4 chips" in found.text
    assert "wanted 8" in found.text
    assert found.fix
    assert check("tpu", None, tpu / "nothing").state == "wrong"
    assert check("cpu", 4, tpu / "nothing").state == "skipped"
    (tpu / "old").mkdir()
    for name in ("accel0", "accel10", "accelerator"):
        (tpu / "old" / name).touch()
    assert check("tpu", 2, tpu / "old").state == "fine"


def test_who_holds_the_chips(tpu):
    lock = tpu / "lock"
    places = {"proc": tpu / "proc", "root": tpu / "dev", "lock": lock}
    assert chip_checks.device_holder("tpu", **places).state == "fine"
    (tpu / "proc/1/fd/7").symlink_to(tpu / "dev/vfio/2")
    found = chip_checks.device_holder("tpu", **places)
    assert found.text == "process 1: python train.py --beta"
    assert found.fix.endswith("kill 1")
    (tpu / "proc/1").rename(tpu / f"proc/{os.getpid()}")  # ourselves
    assert chip_checks.device_holder("tpu", **places).state == "fine"


def test_the_lock_of_another_user(tpu, monkeypatch):
    lock = tpu / "lock"
    lock.touch()
    places = {"proc": tpu / "proc", "root": tpu / "dev", "lock": lock}
    assert chip_checks.device_holder("tpu", **places).state == "fine"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert chip_checks.device_holder("tpu", **places).fix == f"sudo rm {lock}"


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({}, "fine"),
        ({"count": 3, "sums": [3.0] * 3}, "wrong"),
        ({"sums": [6.0, 6.0, 6.0, 5.0]}, "wrong"),
        ({"processes": 2}, "wrong"),
    ],
)
def test_devices_are_judged(found, state):
    # 0 + 1 + 2 + 3 on each of four.
    sound = {"count": 4, "kind": "chip", "processes": 1, "sums": [6.0] * 4}
    judged = chip_checks.judge_devices(sound | found, 4)
    assert judged.state == state
    assert bool(judged.fix) == (state == "wrong")


def test_devices_that_never_reply(monkeypatch):
    monkeypatch.setattr(chip_checks, "PROBE", "import time; time.sleep(60)")
    found = chip_checks.devices("cpu", 1, limit=0.1)
    assert found.text == "no sum over the devices within 0 s"
    monkeypatch.setattr(chip_checks, "PROBE", "raise SystemExit('The TPU is in use')")
    assert chip_checks.devices("cpu", 1).text == "The TPU is in use"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"jaxlib": "0.10.1"}, "they differ"),
        ({"jax": None}, "jax None"),
        ({"libtpu": "0.0.52"}, "libtpu 0.0.52; jax wants 0.0.42.*"),
        ({"libtpu": None}, "libtpu None"),
    ],
)
def test_versions(monkeypatch, changed, words):
    there = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.42"} | changed
    monkeypatch.setattr(host_checks, "installed", there.get)
    needs = ["numpy>=2.0", 'libtpu==0.0.42.*; extra == "tpu"']
    monkeypatch.setattr(host_checks.importlib.metadata, "requires", lambda name: needs)
    found = host_checks.versions("tpu")
    assert found.state == ("fine" if words is None else "wrong")
    assert (words or "") in found.text
    assert bool(found.fix) == bool(words)


def test_the_jax_that_is_installed_names_its_libtpu():
    wanted = host_checks.wanted_libtpu()
    assert wanted
    assert wanted[0].isdigit()


def test_clock(server):
    handler, url = server
    assert host_checks.clock(url).state == "fine"
    assert host_checks.clock(f"{url}/none").state == "fine"
    handler.skew = 300
    found = host_checks.clock(url)
    assert found.state == "wrong"
    assert found.text.startswith(("-300 s", "-299 s", "-301 s"))
    assert host_checks.clock("http://127.0.0.1:9").state == "skipped"


def test_cloud_token(server):
    handler, url = server
    assert host_checks.cloud_token("tpu", url).state == "fine"
    handler.scopes = "https://www.googleapis.com/auth/devstorage.read_only\n"
    assert "wanted cloud-platform" in host_checks.cloud_token("tpu", url).text
    assert host_checks.cloud_token("tpu", "http://127.0.0.1:9").state == "wrong"
    assert host_checks.cloud_token("cpu").state == "skipped"


def test_hub_token_is_not_printed(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert host_checks.hub_token().state == "skipped"
    monkeypatch.setenv("HF_TOKEN", "a secret")
    assert host_checks.hub_token() == ("hub token", "fine", "there is one", "")


def test_disk(tmp_path):
    assert host_checks.disk(tmp_path, 0).state == "fine"
    assert host_checks.disk(tmp_path, 1e9).state == "wrong"


def test_bucket(cloud, monkeypatch):
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    assert host_checks.bucket("").state == "skipped"
    assert host_checks.bucket("buck").state == "fine"
    written = [call[1:3] for call in cloud.calls]
    assert [verb for verb, _ in written] == ["cp", "cat", "rm"]
    assert not [p for p in (cloud.root / "buckets").rglob("*") if p.is_file()]
    cloud.state |= {"damage": "!"}
    assert "reads back as" in host_checks.bucket("buck").text
    cloud.state |= {"no_bucket": True}
    found = host_checks.bucket("buck")
    assert "storage.objects.create access" in found.text
    assert "roles/storage.objectAdmin" in found.fix


def test_the_whole_on_a_cpu(cloud):
    """With a network that is not there, and a bucket that is."""
    environment = cloud.environment | {"http_proxy": "", "JAX_NUM_CPU_DEVICES": "4"}
    environment["https_proxy"] = "http://127.0.0.1:9"
    words = ["--platform", "cpu", "--accel", "v6e-4", "--bucket", "buck"]
    command = [sys.executable, str(SETUP / "doctor.py"), *words, "--min-disk", "0"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120
    )
    states = {line[9:23].strip(): line.split()[0] for line in done.stdout.splitlines()}
    assert done.stdout.endswith("Nothing is wrong.\n"), done.stdout + done.stderr
    assert done.returncode == 0
    assert states["devices"] == states["bucket"] == states["versions"] == "fine"
    assert "4 of cpu, wanted 4; the sum over them is right" in done.stdout
    assert "a secret" not in done.stdout


def test_what_is_wrong_comes_with_its_fix(cloud, capsys, monkeypatch):
    import doctor

    words = ["doctor.py", "--platform", "cpu", "--min-disk", "1e9"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(chip_checks, "PROBE", "raise SystemExit('not there')")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert printed.endswith("2 wrong.\n")
    assert "-> Remove old runs" in printed


def test_examples_in_the_texts():
    assert doctest.testmod(host_checks) == (0, 2)
