"""Reads what `gcloud --format=json` prints, and topologies.json, for the scripts.

cloud_json.py resource NAME KEY=VALUE    a line of each list, empty without NAME:
                                         state|accelerator|labelled or foreign|why
cloud_json.py rows KEY=VALUE             name|accelerator|state|age, of what is labelled
cloud_json.py topology FILE TYPE FIELD   one field of an accelerator type
"""

import calendar
import json
import sys
import time


def specs(resource):
    """The nodes that a queued resource asks for."""
    return resource.get("tpu", {}).get("nodeSpec", [])


def name_of(resource):
    """The last part of its full name."""
    return resource.get("name", "").rsplit("/", 1)[-1]


def state_of(resource):
    """A word such as READY or PROVISIONING."""
    state = resource.get("state", "")
    return state.get("state", "") if isinstance(state, dict) else state


def accelerator_of(resource):
    """Its accelerator type."""
    nodes = [spec.get("node", {}) for spec in specs(resource)] or [resource]
    return nodes[0].get("acceleratorType", "").rsplit("/", 1)[-1]


def is_labelled(resource, label):
    """Whether it, or for a queued resource every node of it, carries the label."""
    key, _, value = label.partition("=")
    nodes = [spec.get("node", {}) for spec in specs(resource)] or [resource]
    return all(node.get("labels", {}).get(key) == value for node in nodes)


def reason_of(resource):
    """Why it failed, or who suspended it, on one line."""
    state = resource.get("state", {})
    if not isinstance(state, dict):
        return ""
    message = state.get("failedData", {}).get("error", {}).get("message", "")
    return " ".join((message or state.get("stateInitiator", "")).split())


def resource_line(resources, name, label):
    """What is there by that name; empty if nothing is."""
    for resource in resources:
        if name_of(resource) == name:
            labelled = "labelled" if is_labelled(resource, label) else "foreign"
            found = state_of(resource), accelerator_of(resource), labelled
            return "|".join([*found, reason_of(resource)])
    return ""


def age_of(resource, now):
    """Hours and minutes since it was asked for."""
    made = resource.get("createTime", "")
    try:
        then = time.strptime(made[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return "?"
    minutes = int(now - calendar.timegm(then)) // 60
    return f"{minutes // 60}h{minutes % 60:02d}m"


def rows(resources, label, now):
    """A line for each that carries the label."""
    for resource in resources:
        if is_labelled(resource, label):
            parts = name_of(resource), accelerator_of(resource), state_of(resource)
            yield "|".join([*parts, age_of(resource, now)])


def topology_field(table, accelerator, field):
    """One field of an accelerator type, which must be in the table."""
    if accelerator not in table:
        raise SystemExit(
            f"ACCEL={accelerator} is not an accelerator type of one host; those are "
            f"{', '.join(table)}. Slices of several hosts are not supported yet."
        )
    return table[accelerator][field]


def documents(text):
    """The JSON documents that stand one behind the other."""
    found, text = [], text.strip()
    while text:
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:].strip()
    return found


def main(verb, *arguments):
    """Prints what the verb asks for."""
    if verb == "topology":
        path, accelerator, field = arguments
        with open(path, encoding="utf-8") as file:
            print(topology_field(json.load(file), accelerator, field))
        return
    lists = documents(sys.stdin.read())
    if verb == "resource":
        name, label = arguments
        for resources in lists:
            print(resource_line(resources, name, label))
    elif verb == "rows":
        (label,) = arguments
        for row in rows(lists[0], label, time.time()):
            print(row)
    else:
        raise SystemExit(f"cloud_json.py does not know {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
