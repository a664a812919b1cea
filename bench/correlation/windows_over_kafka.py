"""Workloads W3 (sessions) and W4 (hot items), Kafka to Kafka: every result is compared with the brute-force oracle,
undisturbed and with the process killed in the middle."""

import collections
import time

from contenders import HERE, fields, read_records, write_w1
from measuring import BenchError, progress
from oracle_w3 import w3
from oracle_w4 import w4

USERS, SEED = 20_000, 42
Workload = collections.namedtuple("Workload", "name topic rule answer read")
# A window closes so long after its last event; silence has to be seen before that.
PATIENCE_SECONDS = 120


def moment(value):
    time_of = dict(fields(value))
    return time_of.get(1, 0) * 1000 + time_of.get(2, 0) // 1_000_000


def result(record):
    """{rule, key, start, end, aggregate, final, revision} of a WindowResult."""
    found = {"key": None, "final": 0, "revision": 0}
    names = {1: "rule", 4: "key", 5: "start", 6: "end", 7: "aggregate", 8: "final", 9: "revision"}
    for number, value in fields(record.value()[6:]):
        if number in (5, 6):
            value = moment(value)
        elif number == 7:
            value = dict(fields(value))
        if number in names:
            found[names[number]] = value
    if not found["final"] or found["revision"] != 1:
        raise BenchError(f"a window was told more than once, or not for good: {found}")
    return found


def session(found):
    return int(found["key"]), found["aggregate"][2], found["start"], found["end"]


def hot_items(found):
    entries = [dict(fields(value)) for number, value in fields(found["aggregate"][4]) if number == 1]
    most = {entry[2] for entry in entries}
    if len(most) != 1:
        raise BenchError(f"top_k with k = 1 has told {most}")
    return found["end"], most.pop(), tuple(sorted(int(entry[1]) for entry in entries))


WORKLOADS = (
    Workload("w3", "bench.w3", "rules/w3.yaml", lambda events: w3(events, USERS, SEED), session),
    Workload("w4", "bench.w4", "rules/w4.yaml", lambda events: w4(events, SEED), hot_items),
)


def setup(site, options):
    """Rules first, then events: they stay for every group that reads them."""
    process = site.system.make_correlation("setup", ["setup"], group="setup").start()
    for workload in WORKLOADS:
        site.system.apply_rule(process, HERE / "pack" / workload.rule)
    process.stop()
    schema = HERE / "pack/proto/tocsin/bench/v1/event.proto"
    for workload in WORKLOADS:
        schema_id = site.system.register(f"{workload.topic}-value", schema)
        written = write_w1(site.system, workload.topic, schema_id, options, workload=workload.name, keys=USERS,
                           seed=SEED)
        if written != options.events:
            raise BenchError(f"{workload.name}: {written} events written, not {options.events}")


def internal_topics(system):
    return [topic for topic in system.kafka_admin.list_topics(timeout=10).topics
            if topic.startswith(tuple(f"correlation-{workload.topic}-" for workload in WORKLOADS))]


def await_records(system, begin, count):
    """Until so many records, and the marks of their transactions, lie behind `begin`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(system.end_offsets("aggregates").values()) - sum(begin.values()) < count:
        if time.monotonic() > deadline:
            raise BenchError("no results come any more")
        time.sleep(0.05)  # the poll interval; the condition decides


def trial(system, answers, number, kill):
    """One process over both topics."""
    system.delete_topics(*internal_topics(system))
    begin = system.end_offsets("aggregates")
    group = f"windows-{number}"
    process = system.make_correlation(group, ["worker-0"], group=group).start()
    count = sum(map(len, answers.values()))
    try:
        if kill:
            await_records(system, begin, count // 4)
            process.kill()
            process.start()
        await_records(system, begin, count)
        compare(system, answers, begin)
    except BenchError as failure:
        raise BenchError(f"{failure}\n{process.end_of_log()}") from None
    process.stop()


def compare(system, answers, begin):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = collections.defaultdict(list)
        for record in read_records(system, "aggregates", begin):
            told = result(record)
            found[told["rule"].decode()].append(told)
        got = {workload.name: sorted(map(workload.read, found[workload.name])) for workload in WORKLOADS}
        if all(len(got[name]) >= len(answer) for name, answer in answers.items()) or time.monotonic() > deadline:
            break
        time.sleep(1)  # the poll interval; the condition decides
    for name, answer in answers.items():
        if got[name] == answer:
            continue
        missing, surplus = sorted(set(answer) - set(got[name])), sorted(set(got[name]) - set(answer))
        raise BenchError(f"{name}: {len(got[name])} results where the oracle has {len(answer)}; missing {missing[:3]}, "
                         f"surplus {surplus[:3]}")


def measure(site, options):
    progress("windows: the oracles")
    answers = {workload.name: workload.answer(options.events) for workload in WORKLOADS}
    setup(site, options)
    measured = {"events": options.events, "results": {name: len(answer) for name, answer in answers.items()},
                "equal_trials": 0, "equal_trials_with_kill": 0}
    for number in range(options.rounds):
        trial(site.system, answers, 2 * number, kill=False)
        measured["equal_trials"] += 1
        trial(site.system, answers, 2 * number + 1, kill=True)
        measured["equal_trials_with_kill"] += 1
        progress(f"windows: round {number + 1} of {options.rounds}: {measured['results']} as the oracles, also with "
                 "kill -9")
    return measured
