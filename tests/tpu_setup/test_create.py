"""A VM is asked for once, waited for, adopted, and its failures are told."""

import shlex

import pytest

from tests.tpu_setup.conftest import AT, LISTS

CREATE = [
    *["compute", "tpus", "queued-resources", "create", "box", *AT],
    "--node-id=box",
    "--accelerator-type=v5litepod-8",
    "--runtime-version=v2-alpha-tpuv5-lite",
    "--labels=managed-by=jaxalign",
    "--scopes=https://www.googleapis.com/auth/cloud-platform",
    "--spot",
    "--format=json",
]


def test_waits_until_the_vm_is_there(cloud):
    states = ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    cloud.state |= {"script": states}
    done = cloud.run("create.sh", "--poll", "0")
    assert done.returncode == 0, done.stderr
    told = [line.removeprefix("box: ") for line in done.stderr.splitlines()]
    assert told[:3] == ["requested", "WAITING_FOR_RESOURCES", "PROVISIONING"]
    assert cloud.calls == [*LISTS, CREATE, *LISTS * 3]


def test_twice_makes_one(cloud):
    for _ in range(2):
        assert cloud.run("create.sh", "--poll", "0").returncode == 0
    assert sum("create" in call for call in cloud.calls) == 1
    assert cloud.calls[-2:] == LISTS


@pytest.mark.parametrize(
    ("capacity", "flag"), [("reserved", ["--reserved"]), ("on-demand", [])]
)
def test_capacity_and_account(cloud, capacity, flag):
    text = cloud.env_file.read_text().replace("=spot", f"={capacity}")
    cloud.env_file.write_text(f"{text}SERVICE_ACCOUNT=me@proj\nRUNTIME='other image'\n")
    done = cloud.run("create.sh", "--dry-run")
    printed = shlex.split(done.stdout.splitlines()[-1])
    more = [*flag, "--service-account=me@proj", "--format=json"]
    wanted = [*CREATE[:-2], *more]
    runtime = "--runtime-version=v2-alpha-tpuv5-lite"
    wanted[wanted.index(runtime)] = "--runtime-version=other image"
    assert printed == ["timeout", "--kill-after=10", "180", "gcloud", *wanted]
    assert cloud.calls == []


@pytest.mark.parametrize(
    ("state", "words"),
    [("FAILED", "no capacity left"), ("SUSPENDED", "holds its name and quota")],
)
def test_what_will_not_come_is_told_and_left(cloud, state, words):
    cloud.add_queued("box", state)
    done = cloud.run("create.sh", "--poll", "0")
    assert done.returncode == 1
    assert words in done.stderr
    assert "delete.sh" in done.stderr
    assert cloud.calls == LISTS


def test_a_refusal_is_not_repeated(cloud):
    cloud.state |= {"refuse": "RESOURCE_EXHAUSTED: Quota limit"}
    done = cloud.run("create.sh", "--poll", "0")
    assert done.returncode == 1
    assert "RESOURCE_EXHAUSTED: Quota limit" in done.stderr
    assert "Trouble" in done.stderr
    assert cloud.calls == [*LISTS, CREATE, *LISTS]


def test_somebody_was_faster(cloud):
    cloud.state |= {"race": True, "script": ["CREATING", "ACTIVE"]}
    done = cloud.run("create.sh", "--poll", "0")
    assert done.returncode == 0, done.stderr
    assert "was there already" in done.stderr


def test_a_vm_of_other_making_is_adopted(cloud):
    cloud.add_node("box", labels={})
    done = cloud.run("create.sh")
    assert done.returncode == 0
    assert "adopted, and delete.sh will not touch it" in done.stderr
    assert cloud.calls == LISTS


def test_a_vm_of_another_kind_is_not(cloud):
    cloud.add_node("box", accel="v6e-8")
    done = cloud.run("create.sh")
    assert done.returncode == 2
    assert "is there as v6e-8, and ACCEL asks for v5litepod-8" in done.stderr


def test_stays_in_the_queue_after_the_wait(cloud):
    cloud.state |= {"script": ["WAITING_FOR_RESOURCES"]}
    done = cloud.run("create.sh", "--wait", "0", "--poll", "0")
    assert done.returncode == 75
    assert "give the same command again" in done.stderr


def test_looking_is_tried_again(cloud):
    cloud.state |= {"flaky": 2}
    assert cloud.run("create.sh", "--poll", "0").returncode == 0
    cloud.state |= {"flaky": 3}
    done = cloud.run("create.sh", "--poll", "0")
    assert done.returncode == 1
    assert "could not be listed" in done.stderr


def test_a_call_has_a_time_limit(cloud):
    cloud.state |= {"hang": True}
    done = cloud.run("create.sh", CLOUD_TIMEOUT="0.2")
    assert done.returncode == 1
    assert "No reply within 0.2 s: gcloud compute tpus" in done.stderr


@pytest.mark.parametrize("accelerator", ["v5litepod-16", "v5p-128", "v5e-8"])
def test_several_hosts_are_refused_in_a_sentence(cloud, accelerator):
    text = cloud.env_file.read_text().replace("v5litepod-8", accelerator)
    cloud.env_file.write_text(text)
    done = cloud.run("create.sh")
    assert done.returncode == 2
    assert f"ACCEL={accelerator} is not an accelerator type of one host" in done.stderr
    assert "several hosts are not supported yet" in done.stderr
    assert cloud.calls == []
