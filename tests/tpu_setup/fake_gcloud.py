"""A cloud in a folder: plays the part of `gcloud`, and of the VM behind `ssh`.

FAKE_CLOUD names the folder: state.json (what there is, and how requests will go),
log.jsonl (every argv), home/ (the VM's home), buckets/.
"""

# What is slow to import is imported where it is used: this starts hundreds of times.
import json
import os
import sys

ROOT = os.environ.get("FAKE_CLOUD", "nowhere")
STATE = f"{ROOT}/state.json"
HOME = f"{ROOT}/home"


def fail(text):
    sys.stderr.write(f"ERROR: (gcloud.fake) {text}\n")
    sys.exit(1)


def flags_of(words):
    found = {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            found[name] = value
    return found


def node(name, accelerator, labels):
    return {
        "name": f"projects/p/locations/z/nodes/{name}",
        "state": "READY",
        "acceleratorType": accelerator,
        "labels": labels,
        "createTime": "2026-01-01T00:00:00.123456789Z",
    }


def tick(state):
    """Each look at the queue finds it one step on."""
    for name, queued in state["queued"].items():
        if queued["script"]:
            queued["now"] = queued["script"].pop(0)
        if queued["now"] == "ACTIVE" and name not in state["nodes"]:
            made = node(name, queued["accelerator"], queued["labels"])
            state["nodes"][name] = made


def queued_json(name, queued):
    state = {"state": queued["now"]}
    if queued["now"] == "FAILED":
        state["failedData"] = {"error": {"message": "no\ncapacity left"}}
    spec = node(name, queued["accelerator"], queued["labels"])
    del spec["name"], spec["state"]
    return {
        "name": f"projects/p/locations/z/queuedResources/{name}",
        "createTime": "2026-01-01T00:00:00.123456789Z",
        "state": state,
        "tpu": {"nodeSpec": [{"nodeId": name, "node": spec}]},
    }


def create(state, name, flags):
    if name in state["queued"]:
        fail(f"ALREADY_EXISTS: Resource {name} already exists")
    labels = dict(pair.split("=") for pair in flags["labels"].split(","))
    if state.get("race"):  # somebody else was faster, with the same command
        state["refuse"] = "ALREADY_EXISTS"
    if not state.get("refuse") or state.get("race"):
        state["queued"][name] = {
            "now": "CREATING",
            "script": state["script"],
            "accelerator": flags["accelerator-type"],
            "labels": labels,
        }
    if state.get("refuse"):
        save(state)
        fail(state["refuse"])
    print("{}")


def tpus(state, kind, verb, words, flags):
    if state.get("hang"):
        os.execvp("sleep", ["sleep", "60"])
    if kind == "queued-resources" and verb == "list":
        if state.get("flaky"):
            state["flaky"] -= 1
            save(state)
            fail("UNAVAILABLE")
        tick(state)
        print(json.dumps([queued_json(*item) for item in state["queued"].items()]))
    elif kind == "queued-resources" and verb == "create":
        create(state, words[0], flags)
    elif kind == "queued-resources" and verb == "delete":
        del state["queued"][words[0]]
        state["nodes"].pop(words[0], None)
    elif kind == "tpu-vm" and verb == "list":
        print(json.dumps([*state["nodes"].values()]))
    elif kind == "tpu-vm" and verb == "delete":
        del state["nodes"][words[0]]
    elif kind == "tpu-vm" and verb == "ssh":
        save(state)
        environment = {"HOME": HOME, "PATH": os.environ["PATH"]}
        environment |= {"FAKE_CLOUD": ROOT, "RETRY_SECONDS": "0"}
        os.chdir(HOME)
        os.execvpe("bash", ["bash", "-c", flags["command"]], environment)
    elif kind == "tpu-vm" and verb == "scp":
        write(f"{HOME}/{words[1].partition(':')[2]}", read(words[0]))
    elif kind in ("locations", "accelerator-types") and verb == "list":
        print("us-west4-a")
    else:
        fail(f"Invalid choice: {kind} {verb}")


def path_of(word):
    if word.startswith("gs://"):
        return f"{ROOT}/buckets/{word.removeprefix('gs://')}"
    return word


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def storage(state, verb, words):
    if state.get("no_bucket"):
        fail("HTTPError 403: does not have storage.objects.create access")
    if verb == "rsync":
        import shutil

        shutil.copytree(path_of(words[0]), path_of(words[1]), dirs_exist_ok=True)
    elif verb == "objects":
        folder = path_of(words[1].removesuffix("/**"))
        print(json.dumps([names for _, _, names in os.walk(folder) if names][:1]))
    elif verb == "cat":
        print(read(path_of(words[0])), end="")
    elif verb == "cp" and words[0] == "-":
        os.makedirs(os.path.dirname(path_of(words[1])), exist_ok=True)
        write(path_of(words[1]), sys.stdin.read() + state.get("damage", ""))
    elif verb == "rm" and words[0].endswith("/**"):
        import shutil

        shutil.rmtree(path_of(words[0].removesuffix("/**")))
    elif verb == "rm":
        os.remove(path_of(words[0]))
    elif verb == "buckets":
        os.makedirs(path_of(words[1]), exist_ok=True)
    else:
        fail(f"Invalid choice: storage {verb}")


def save(state):
    # Whole or not at all: a run that is copied every moment reads it meanwhile.
    write(f"{STATE}.{os.getpid()}", json.dumps(state))
    os.replace(f"{STATE}.{os.getpid()}", STATE)


def main():
    argv = sys.argv[1:]
    with open(f"{ROOT}/log.jsonl", "a") as log:
        log.write(json.dumps(argv) + "\n")
    words = [word for word in argv if not word.startswith("--")]
    state = json.loads(read(STATE))
    if words[:2] == ["compute", "tpus"]:
        tpus(state, words[2], words[3], words[4:], flags_of(argv))
    elif words[0] == "storage":
        storage(state, words[1], words[2:])
    elif words[0] not in ("auth", "config", "iam", "services"):
        fail(f"Invalid choice: {words}")
    save(state)


if __name__ == "__main__":
    main()
