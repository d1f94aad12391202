"""Nothing without our label is listed or deleted, and nothing without being asked."""

import sys

import pytest

from tests.tpu_setup.conftest import AT, LISTS, SETUP

sys.path.append(str(SETUP))

import cloud_json

DELETE_QUEUED = [
    *["compute", "tpus", "queued-resources", "delete", "box", *AT],
    *["--force", "--quiet"],
]
DELETE_NODE = ["compute", "tpus", "tpu-vm", "delete", "box", *AT, "--quiet"]


def test_unconfirmed_it_only_looks(cloud):
    cloud.add_queued("box", "ACTIVE")
    done = cloud.run("delete.sh")
    assert done.returncode == 0
    assert "Would run: gcloud compute tpus queued-resources delete box" in done.stderr
    assert "--confirm box" in done.stderr
    assert cloud.calls == LISTS
    assert "box" in cloud.state["queued"]


@pytest.mark.parametrize("state", ["ACTIVE", "SUSPENDED", "FAILED"])
def test_a_queued_resource_goes_with_its_vm(cloud, state):
    cloud.add_queued("box", state)
    done = cloud.run("delete.sh", "box", "--confirm", "box")
    assert done.returncode == 0, done.stderr
    assert cloud.calls == [*LISTS, DELETE_QUEUED]
    assert cloud.state["queued"] == cloud.state["nodes"] == {}


def test_a_labelled_vm_alone(cloud):
    cloud.add_node("box")
    assert cloud.run("delete.sh", "--confirm", "box").returncode == 0
    assert cloud.calls == [*LISTS, DELETE_NODE]


@pytest.mark.parametrize(
    ("what", "labels"),
    [
        ("queued", {}),
        ("queued", {"managed-by": "someone"}),
        ("node", {"jaxalign": ""}),
        ("node of ours in the queue", {}),
    ],
)
def test_what_is_not_ours_is_left_alone(cloud, what, labels):
    if what == "queued":
        cloud.add_queued("box", "ACTIVE", labels=labels)
    else:
        cloud.add_node("box", labels=labels)
    if what == "node of ours in the queue":
        cloud.add_queued("box", "WAITING_FOR_RESOURCES")
    done = cloud.run("delete.sh", "--confirm", "box")
    assert done.returncode == 2
    assert "does not carry the label managed-by=jaxalign" in done.stderr
    assert cloud.calls == LISTS


def test_the_name_must_be_said_twice(cloud):
    cloud.add_queued("box", "ACTIVE")
    done = cloud.run("delete.sh", "box", "--confirm", "other")
    assert done.returncode == 2
    assert "nothing was deleted" in done.stderr
    assert cloud.calls == []


def test_nothing_there_is_no_error(cloud):
    done = cloud.run("delete.sh", "--confirm", "box")
    assert done.returncode == 0
    assert "nothing to delete" in done.stderr


def test_the_list_shows_ours_alone(cloud):
    cloud.add_queued("box", "ACTIVE")
    cloud.run("list.sh")  # the VM comes to be
    nodes = cloud.state["nodes"]
    foreign = nodes["box"] | {"name": "projects/p/locations/z/nodes/x", "labels": {}}
    cloud.state |= {"nodes": nodes | {"x": foreign}}
    done = cloud.run("list.sh")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:4] for row in rows] == [
        ["KIND", "NAME", "ACCELERATOR", "STATE"],
        ["queued-resources", "box", "v5litepod-8", "ACTIVE"],
        ["tpu-vm", "box", "v5litepod-8", "READY"],
    ]
    assert all(row[4].endswith("m") for row in rows[1:])
    assert cloud.calls == [*LISTS, *LISTS]


def test_a_request_is_ours_if_all_its_nodes_are():
    ours, other = {"node": {"labels": {"managed-by": "jaxalign"}}}, {"node": {}}

    def is_ours(*specs):
        resource = {"name": "x", "tpu": {"nodeSpec": [*specs]}}
        return cloud_json.is_labelled(resource, "managed-by=jaxalign")

    assert is_ours(ours)
    assert is_ours(ours, ours)
    assert not is_ours(ours, other)
    assert not is_ours(other)
    assert not is_ours()
