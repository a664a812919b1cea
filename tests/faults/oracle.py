"""Compares what came out with what had to come out, by brute force over the input log. Pure: a history (history.py) in,
findings out. An empty list is the only good answer.

    oracle.py FILE    checks a stored history; exit code 1 when it finds something
"""

import collections
import datetime
import json
import sys

SPAN = datetime.timedelta(seconds=60)
AT_LEAST = 4
STREAM = "faults.events"
POISON = "test.poison"
# Rule: the field whose value is the group key, and whether event time decides the order instead of arrival.
RULES = {"key-alarms": ("key", False), "place-alarms": ("place", True)}
# Findings of one kind are cut off here.
SHOWN = 5


def when(record):
    return datetime.datetime.fromisoformat(record["headers"]["ce_time"].replace("Z", "+00:00"))


def first_of_each_identity(records):
    seen = set()
    for record in records:
        if POISON in record["headers"]:
            continue
        identity = (record["headers"]["ce_source"], record["headers"]["ce_id"])
        if identity not in seen:
            seen.add(identity)
            yield record


def expected(history):
    """{(rule, group key): [ids of the evidence of each detection, in order]}."""
    found = collections.defaultdict(list)
    events = list(first_of_each_identity(history["input"]))
    for rule, (field, by_time) in RULES.items():
        order = events
        if by_time:
            order = sorted(events, key=lambda event: (when(event), event["headers"].get("ce_sequence", "").encode(),
                                                      event["partition"], event["offset"]))
        windows = {}
        for event in order:
            if event["value"].get("kind") != "alarm":
                continue
            key, time = event["value"][field], when(event)
            window = [old for old in windows.get(key, ()) if time - SPAN < old[0]]
            window.append((time, event["headers"]["ce_id"]))
            if len([old for old in window if old[0] <= time]) >= AT_LEAST:
                found[rule, key].append(tuple(old[1] for old in window))
                window = []
            windows[key] = window
    return dict(found)


def observed(records):
    found = collections.defaultdict(list)
    for record in records:
        detection = record["value"]
        found[detection["rule"], ",".join(detection["group_key"])].append(tuple(detection["evidence"]))
    return dict(found)


def compare_detections(history):
    want, got = expected(history), observed(history["outputs"].get("detections", []))
    for key in sorted(set(want) | set(got)):
        wanted, seen = want.get(key, []), got.get(key, [])
        if wanted == seen:
            continue
        missing = collections.Counter(wanted) - collections.Counter(seen)
        surplus = collections.Counter(seen) - collections.Counter(wanted)
        for evidence in missing:
            yield "lost", f"{key}: the detection of {evidence}"
        for evidence in surplus:
            yield "doubled" if evidence in wanted else "surplus", f"{key}: the detection of {evidence}"
        if not missing and not surplus:
            yield "out of order", f"{key}: {seen} where {wanted} was due"


def compare_incidents(history):
    """Each detection has its incident's revision, in the same transaction: one without the other is a torn one."""
    detections = {record["value"]["id"]: record["value"] for record in history["outputs"].get("detections", [])}
    told = collections.Counter()
    revisions = {}
    for record in history["outputs"].get("incidents.correlated", []):
        incident = record["value"]
        before = revisions.get(incident["id"], {"revision": 0, "detections": []})
        if incident["revision"] != before["revision"] + 1:
            yield "incidents", f"{incident['id']}: revision {incident['revision']} behind {before['revision']}"
        new = incident["detections"][len(before["detections"]):]
        if incident["detections"][:len(before["detections"])] != before["detections"] or len(new) != 1:
            yield "incidents", f"{incident['id']}: revision {incident['revision']} does not add one detection"
        told.update(new)
        revisions[incident["id"]] = incident
    for detection in sorted(set(detections) | set(told)):
        if detection not in told:
            yield "torn", f"detection {detection} without its incident"
        elif detection not in detections:
            yield "torn", f"an incident tells of detection {detection}, which there is not"
        elif told[detection] > 1:
            yield "doubled", f"{told[detection]} revisions tell of detection {detection}"


def stamped(history):
    """(topic, record, (worker, incarnation, transaction), i, n) of every output that carries a stamp."""
    for topic, records in history["outputs"].items():
        for record in records:
            stamp = record["headers"].get("tocsin.transaction")
            if stamp is not None:
                worker, incarnation, transaction, i, n = stamp.rsplit("/", 4)
                yield topic, record, (worker, int(incarnation), int(transaction)), int(i), int(n)


def check_stamps(history):
    transactions = collections.defaultdict(list)
    last = {}
    for topic, record, transaction, i, n in stamped(history):
        transactions[transaction].append((i, n))
        # Within one partition the transactions of a worker follow one another, and so do the outputs of one.
        place = (topic, record["partition"], transaction[0])
        position = (*transaction[1:], i)
        if position <= last.get(place, (-1, -1, -1)):
            yield "out of order", f"{topic} {record['partition']}: {transaction} {i} of {n} behind {last[place]}"
        last[place] = position
    for transaction, parts in sorted(transactions.items()):
        n = parts[0][1]
        if any(part[1] != n for part in parts):
            yield "torn", f"transaction {transaction} gives itself several sizes: {sorted(set(p[1] for p in parts))}"
        have = collections.Counter(part[0] for part in parts)
        missing = [i for i in range(1, n + 1) if i not in have]
        if missing:
            yield "torn", f"transaction {transaction}: {len(missing)} of its {n} outputs are missing: {missing[:5]}"
        again = [i for i, count in have.items() if count > 1]
        if again:
            yield "doubled", f"transaction {transaction}: its outputs {again[:5]} are there more than once"


def check_inputs(history):
    """No offset was taken in by two transactions."""
    ranges = collections.defaultdict(dict)
    for _, record, transaction, _, _ in stamped(history):
        for part in filter(None, record["headers"].get("tocsin.inputs", "").split(",")):
            topic, partition, span = part.rsplit(":", 2)
            first, last = (int(number) for number in span.split("-"))
            ranges[topic, int(partition)].setdefault((first, last), set()).add(transaction)
    for place, spans in sorted(ranges.items()):
        before = None
        for (first, last), owners in sorted(spans.items()):
            if len(owners) > 1:
                yield "doubled", f"{place} {first}-{last} was taken in by {len(owners)} transactions"
            if before is not None and first <= before:
                yield "doubled", f"{place}: {first}-{last} begins within what was taken in before ({before})"
            before = last if before is None else max(before, last)


def check_offsets(history):
    for partition, end in history["end"].items():
        committed = history["committed_offsets"].get(partition, -1)
        if committed != end:
            yield "offsets", f"partition {partition}: {committed} is committed, the log ends at {end}"


def check_dead_letters(history):
    """Each record that is no event lies among the dead letters once, and nothing else does."""
    want = {(record["partition"], record["offset"]) for record in history["input"] if POISON in record["headers"]}
    got = collections.Counter((int(record["headers"]["dlq.partition"]), int(record["headers"]["dlq.offset"]))
                              for record in history["outputs"].get(f"{STREAM}.dlq", []))
    for place in sorted(want - set(got)):
        yield "lost", f"the dead letter of partition, offset {place}"
    for place, count in sorted(got.items()):
        if place not in want:
            yield "surplus", f"the event at partition, offset {place} is among the dead letters"
        elif count > 1:
            yield "doubled", f"the dead letter of partition, offset {place}"


def check_isolation(history):
    """What a read_committed reader sees, a read_uncommitted one sees as well, in the same places."""
    for topic, records in history["outputs"].items():
        all_places = {(record["partition"], record["offset"]) for record in history["uncommitted"].get(topic, [])}
        hidden = [record for record in records if (record["partition"], record["offset"]) not in all_places]
        if hidden:
            yield "isolation", f"{topic}: {len(hidden)} committed records are not there for a read_uncommitted reader"


CHECKS = (compare_detections, compare_incidents, check_dead_letters, check_stamps, check_inputs, check_offsets, check_isolation)


def check(history):
    """Findings as text, by kind; empty: the outputs are right."""
    found = collections.defaultdict(list)
    for one in CHECKS:
        for kind, what in one(history):
            found[kind].append(what)
    return [f"{kind}: {what}" for kind, whats in found.items() for what in whats[:SHOWN]] + \
        [f"{kind}: {len(whats) - SHOWN} more" for kind, whats in found.items() if len(whats) > SHOWN]


def aborted(history):
    """How many outputs only a read_uncommitted reader sees: of transactions that were aborted."""
    return sum(len(history["uncommitted"][topic]) - len(records) for topic, records in history["outputs"].items())


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        findings = check(json.load(file))
    print("\n".join(findings) or "nothing is lost, doubled, torn or out of order")
    sys.exit(1 if findings else 0)
