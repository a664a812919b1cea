"""Bugs planted into a copy of a history's outputs: what the oracle must never miss."""

import copy

DETECTIONS, INCIDENTS = "detections", "incidents.correlated"


def offset_behind(records):
    return max((record["offset"] for record in records), default=-1) + 1


def drop(history, random):
    """A detection and what belongs to it is lost."""
    records = history["outputs"][DETECTIONS]
    gone = records.pop(random.randrange(len(records)))
    incidents = history["outputs"][INCIDENTS]
    incidents[:] = [record for record in incidents if gone["value"]["id"] not in record["value"]["detections"][-1:]]


def duplicate(history, random):
    """A detection is there once more."""
    records = history["outputs"][DETECTIONS]
    again = copy.deepcopy(random.choice(records))
    again["offset"] = offset_behind(records)
    for topic in (history["outputs"], history["uncommitted"]):
        topic[DETECTIONS].append(again)


def swap(history, random):
    """Two detections of one key change places."""
    records = history["outputs"][DETECTIONS]
    places = {}
    for at, record in enumerate(records):
        value = record["value"]
        places.setdefault((value["rule"], tuple(value["group_key"])), []).append(at)
    at = random.choice([found for found in places.values() if len(found) > 1])
    one = random.randrange(len(at) - 1)
    first, second = records[at[one]], records[at[one + 1]]
    for part in ("value", "headers"):
        first[part], second[part] = second[part], first[part]


def tear(history, random):
    """A transaction came without one of its records: the incident's revision, the detection stays."""
    records = history["outputs"][INCIDENTS]
    records.pop(random.randrange(len(records)))


def tear_stamped(history, random):
    """The same, seen by the stamps alone: a forwarded event is missing."""
    topic = "correlation-faults.events-by-place-repartition"
    records = [record for record in history["outputs"][topic] if "tocsin.transaction" in record["headers"]]
    gone = random.choice(records)
    history["outputs"][topic].remove(gone)


PLANTS = {"drop": drop, "duplicate": duplicate, "swap": swap, "tear": tear}
STAMPED_PLANTS = {"tear of forwarded events": tear_stamped}


def plant(name, history, random):
    """A copy of the history with that bug."""
    planted = copy.deepcopy(history)
    {**PLANTS, **STAMPED_PLANTS}[name](planted, random)
    return planted
