"""What is measured of the registry, each a function of a running system. Figures are of this machine, at this time."""

import concurrent.futures
import json
import os
import statistics
import time

from load import JSON_TYPE, BenchError, Nginx, cpu_seconds, wrk
from running import Connection, Replica, wait_for

WRITERS = 100
# Requests that are not counted: connections, the topic, caches of the allocator.
WARM_UP_SCHEMAS = 1000
SLICE_SECONDS = 2
# Asked for in turn: a program's schemas, not one line of a cache.
IDS = 1000
GET_CONNECTIONS, GET_THREADS = 32, 2
IDENTICAL_SUBJECTS, IDENTICAL_TEXT_BYTES = 1000, 64 * 1024

TEXT_BYTES = "tocsin_schema_registry_text_bytes"
AUDIT_LOST = "tocsin_schema_registry_audit_lost_total"

FIELDS = ("string customer", "int64 created_ms", "double amount", "repeated string labels", "bytes signature",
          "bool confirmed", "map<string, string> attributes", "Place place", "repeated Place stops", "Kind kind")


def schema(number, padding=0):
    """An ordinary schema, of 0.7 KiB, whose names hold the number, so that no two are the same."""
    lines = ['syntax = "proto3";', f"package bench.n{number};", "", "// What a customer asked for.",
             f"message Order{number} {{"]
    lines += [f"  {name} = {at + 1};" for at, name in enumerate(FIELDS)]
    lines += [f"  string note_{number} = 20;", "  message Place {", "    double latitude = 1;",
              "    double longitude = 2;", "    string name = 3;", "  }", "  enum Kind {", "    KIND_UNKNOWN = 0;",
              "    KIND_NEW = 1;", "    KIND_REPEATED = 2;", "  }", "}", ""]
    text = "\n".join(lines)
    comment = "// A line of documentation as long as those of real files are, so that the text has its weight.\n"
    return text + comment * max(0, (padding - len(text)) // len(comment))


def next_version(number):
    """Compatible with any other of its kind: one field more, one less. Its messages keep their names."""
    return schema("x").replace("string note_x = 20;", f"string note_{number} = 20;")


def body(text):
    return json.dumps({"schemaType": "PROTOBUF", "schema": text})


def headers(token):
    return {"Authorization": f"Bearer {token}"}


def median(values):
    return statistics.median(values)


class System:
    """One registry of `registries` (tests/compat/registry/running.py), on a topic of its own."""

    def __init__(self, registries, topic):
        self.registries = registries
        self.number = len(registries.replicas)
        self.replica = Replica(self.number, registries.folder, registries.credentials, registries.kafka,
                               f"topic: {topic}\naudit-topic: {topic}.audit\n")
        registries.replicas.append(self.replica)
        self.replica.start()
        self.replica.await_ready()
        self.token = registries.admin_token

    def connect(self):
        return Connection(self.replica.address, self.token)

    def get(self, path):
        with self.connect() as connection:
            answer = connection.get(path)
        if answer.status != 200:
            raise BenchError(f"GET {path}: {answer}")
        return answer

    def restart(self):
        """Seconds from exec to ready. BenchError when a change was lost for the audit log."""
        self.check_audit()
        self.replica.stop()
        if "an entry of the audit log was not written" in self.replica.log.read_text():
            raise BenchError(f"entries of the audit log are lost:\n{self.replica.end_of_log(5)}")
        began = time.monotonic()
        self.replica.start()
        wait_for("the registry to be ready", self.replica.ready, 120)
        return time.monotonic() - began

    def check_audit(self):
        lost = self.replica.metric(AUDIT_LOST)
        if lost:
            raise BenchError(f"{lost:.0f} changes are not in the audit log")

    def schemas(self):
        return int(self.replica.metric("tocsin_schema_registry_schemas"))

    def write(self, template, first, last, subjects, seconds):
        file = self.registries.folder / "body.json"
        file.write_text(body(template))
        return wrk(self.replica.url, "register.lua", [file, first, last, subjects],
                   {**headers(self.token), "Content-Type": JSON_TYPE}, WRITERS, 1, seconds)


def register(system, count, say):
    """First registrations: `count` schemas, each under a subject of its own, by 100 writers."""
    template = schema("@")
    warm_up = min(WARM_UP_SCHEMAS, count // 4)
    first = 1
    with system.connect() as connection:  # the first write waits until Kafka's coordinator is up
        connection.register("first-value", schema(0))
    while first <= warm_up:
        first = min(system.write(template, first, warm_up, 0, 1)["last"], warm_up) + 1
    slices = []
    broker_pid = int((system.registries.folder / "broker" / "pid").read_text())
    registry_cpu, broker_cpu = cpu_seconds(system.replica.process.pid), cpu_seconds(broker_pid)
    began = first
    while first <= count:
        numbers = system.write(template, first, count, 0, SLICE_SECONDS)
        if numbers["last"] <= count:
            slices.append(numbers)
        first = numbers["last"] + 1
        say(f"register: {min(first - 1, count)} of {count}")
    if not slices:
        raise BenchError(f"{count} schemas are registered in less than {SLICE_SECONDS} s: ask for more by --schemas")
    registered = count + 1 - began
    result = {
        "per_second": sum(one["requests"] for one in slices) / sum(one["seconds"] for one in slices),
        "slowest_slice_per_second": min(one["per_second"] for one in slices),
        "p50_ms": median([one["p50_ms"] for one in slices]),
        "p99_ms": median([one["p99_ms"] for one in slices]),
        "writers": WRITERS,
        "slices": len(slices),
        "registry_cpu_us": 1e6 * (cpu_seconds(system.replica.process.pid) - registry_cpu) / registered,
        "broker_cpu_us": 1e6 * (cpu_seconds(broker_pid) - broker_cpu) / registered,
    }
    # What was on its way when a slice ended may not have come.
    with system.connect() as connection:
        number = count
        while system.schemas() < count:
            number += 1
            answer = connection.register(f"bench-{number}-value", schema(number))
            if answer.status != 200:
                raise BenchError(f"registering schema {number}: {answer}")
    return result


def next_versions(system, seconds):
    """Each next version of one of 100 subjects, checked against the one before it. Not one of the promises."""
    system.write(next_version("@"), 1, 10 ** 9, WRITERS, 1)
    numbers = system.write(next_version("@"), 10 ** 6, 10 ** 9, WRITERS, seconds)
    system.check_audit()
    return {"per_second": numbers["per_second"], "p99_ms": numbers["p99_ms"], "subjects": WRITERS}


def get_by_id(system, seconds, rounds, say):
    """GET /schemas/ids/{id} of the registry and of nginx in turn, with the same requests over as many connections."""
    last = min(IDS, system.schemas())
    files = {f"/schemas/ids/{id}": system.get(f"/schemas/ids/{id}").body for id in range(1, last + 1)}
    folder = system.registries.folder / "nginx"
    folder.mkdir()
    sides = {"registry": [], "nginx": []}
    with Nginx(folder, files) as nginx:
        urls = {"registry": (system.replica.url, system.replica.process.pid),
                "nginx": (f"http://{nginx.address}", nginx.process.pid)}
        with Connection(nginx.address, system.token) as connection:
            for path, content in files.items():
                if connection.get(path).body != content:
                    raise BenchError(f"nginx serves other bytes at {path}")

        def ask(side, duration):
            url, pid = urls[side]
            cpu = cpu_seconds(pid)
            numbers = wrk(url, "get.lua", [1, last], headers(system.token), GET_CONNECTIONS, GET_THREADS, duration)
            numbers["cpu_us"] = 1e6 * (cpu_seconds(pid) - cpu) / numbers["requests"]
            return numbers

        for side in sides:
            ask(side, 1)  # not counted
        for one in range(rounds):
            for side, runs in sides.items():
                say(f"get_by_id: round {one + 1} of {rounds}, {side}")
                runs.append(ask(side, seconds))

    def summary(runs):
        return {"requests_per_second": median([one["per_second"] for one in runs]),
                "p50_ms": median([one["p50_ms"] for one in runs]),
                "p99_ms": median([one["p99_ms"] for one in runs]),
                "cpu_us_per_request": median([one["cpu_us"] for one in runs]),
                "bytes_per_response": runs[0]["bytes"] / runs[0]["requests"],
                "runs": [{"requests_per_second": one["per_second"], "p99_ms": one["p99_ms"]} for one in runs]}

    result = summary(sides["registry"])
    result["nginx"] = summary(sides["nginx"])
    result["p99_ratio"] = result["p99_ms"] / result["nginx"]["p99_ms"]
    # Of the two runs of a round, which saw the same machine.
    result["p99_ratio_of_rounds"] = [ours["p99_ms"] / theirs["p99_ms"]
                                     for ours, theirs in zip(sides["registry"], sides["nginx"])]
    result.update(connections=GET_CONNECTIONS, ids=last)
    return result


def one_get_of_each_kind(system):
    for path in ("/schemas/ids/1", "/schemas/ids/1?format=serialized", "/schemas/ids/1/schema", "/schemas/ids/1/subjects",
                 "/schemas/ids/1/versions", "/subjects", "/subjects/bench-1-value/versions",
                 "/subjects/bench-1-value/versions/1", "/subjects/bench-1-value/versions/latest", "/schemas?limit=100",
                 "/schemas/types", "/config", "/mode", "/contexts"):
        system.get(path)


def restart(system, times, say):
    """(restart, memory): SIGTERM, start, time from exec to ready; and the memory then, and before."""
    seconds, rss = [], []
    grown = system.replica.rss_bytes()
    schemas = system.schemas()
    for one in range(times):
        say(f"restart: {one + 1} of {times}")
        seconds.append(system.restart())
        if system.schemas() != schemas:
            raise BenchError(f"{schemas} schemas before a restart, {system.schemas()} after it")
        one_get_of_each_kind(system)
        rss.append(system.replica.rss_bytes())
    mebibyte = 1024 * 1024
    return ({"seconds": median(seconds), "schemas": schemas, "runs": seconds},
            {"rss_mb": max([grown, *rss]) / mebibyte, "after_restart_mb": median(rss) / mebibyte,
             "after_load_mb": grown / mebibyte, "schemas": schemas})


def identical_texts(registries, subjects, say):
    """What one text under many subjects takes, beside as many different texts: each in a registry of its own, read after a
    restart, when only what is kept is there."""
    def fill(name, number_of):
        system = System(registries, name)
        empty = system.replica.rss_bytes()

        def add(number):
            with system.connect() as connection:
                answer = connection.register(f"bench-{number}-value", schema(number_of(number), IDENTICAL_TEXT_BYTES))
            if answer.status != 200:
                raise BenchError(f"registering under bench-{number}-value: {answer}")
            return answer.json["id"]

        say(f"identical_texts: {name}, {subjects} subjects")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(add, range(1, subjects + 1)))
        wait_for("the registry's own schema", lambda: f"{name}.audit-value" in system.get("/subjects").json, 10)
        system.restart()
        one_get_of_each_kind(system)
        if len(system.get("/subjects").json) != subjects + 1:
            raise BenchError(f"{name}: not {subjects} subjects and the registry's own after a restart")
        own = len(system.get(f"/subjects/{name}.audit-value/versions/1/schema").body)
        part = {"ids": len(ids), "kept_text_bytes": int(system.replica.metric(TEXT_BYTES)) - own,
                "rss_bytes_per_subject": (system.replica.rss_bytes() - empty) / subjects}
        system.replica.stop()
        return part

    text = len(schema(1, IDENTICAL_TEXT_BYTES))
    same, distinct = fill("identical", lambda number: 1), fill("distinct", lambda number: number)
    return {"subjects": subjects, "text_bytes": text, **same, "copies": same["kept_text_bytes"] / text,
            "distinct": {**distinct, "copies": distinct["kept_text_bytes"] / text}}


def load_average():
    return os.getloadavg()[0]
