"""Window rules through the whole running system: their results, read from Kafka, against a brute force."""

import collections
import datetime
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import calls
from system import ROOT, System, wait_for

HOURS = """
id: agency-hours
stream: alerts.raw
order: event_time
max-disorder: 10m
idle-timeout: 1s
window:
  type: tumbling
  size: 1h
  grace: 0s
  group-by: [agency]
  aggregates:
    - {name: calls, function: count}
    - {name: places, function: distinct, field: place}
    - {name: north, function: max, field: latitude}
    - {name: busiest, function: top_k, field: township, k: 1}
"""
BURSTS = """
id: township-bursts
stream: alerts.raw
order: event_time
max-disorder: 10m
idle-timeout: 1s
window:
  type: session
  gap: 2s
  grace: 1s
  group-by: [township]
  aggregates: [{name: calls, function: count}]
"""
READER = pathlib.Path(os.environ.get("TOCSIN_TEST_BIN", ROOT / "build/release/tests")) / "topic_reader"
HOUR = datetime.timedelta(hours=1)


def read_topic(bootstrap, topic, partitions=6):
    """The committed values of a topic, as bytes."""
    result = subprocess.run([READER, bootstrap, topic, str(partitions)], check=True, capture_output=True, text=True,
                            timeout=60)
    return [bytes.fromhex(line) for line in result.stdout.splitlines()]


def decode(value):
    """A WindowResult in Confluent's framing (message index 0), as protoc prints it."""
    if value[0] != 0 or value[5] != 0:
        raise AssertionError(f"not the first message of a registered schema: {value[:8]!r}")
    return subprocess.run(
        ["protoc", f"-I{ROOT / 'proto'}", "--decode=tocsin.correlation.v1.WindowResult",
         "tocsin/correlation/v1/aggregate.proto"], input=value[6:], check=True, capture_output=True).stdout.decode()


def field(text, name):
    return re.search(rf"\b{name}: (\S+)", text)[1]


def seconds(text, name):
    block = re.search(rf"{name} {{([^}}]*)}}", text)[1]
    return int(field(block, "seconds"))


def epoch(moment):
    return int(moment.replace(tzinfo=datetime.timezone.utc).timestamp())


@unittest.skipUnless(shutil.which("protoc"), "not run: no protoc")
class WindowsTest(unittest.TestCase):
    def test_results_are_those_of_the_brute_force(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}", file=sys.stderr)
        rows = calls.synthetic_rows(seed, count=400)
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        calls.write_rows(folder / "calls.csv", rows)
        with System() as system:
            for name, text in [("hours", HOURS), ("bursts", BURSTS)]:
                path = folder / f"{name}.yaml"
                path.write_text(text)
                system.run("rules", "apply", path)
            system.replay(folder / "calls.csv")
            hours, bursts = self.expected(rows)
            found = []

            def complete():
                found[:] = map(decode, read_topic(system.kafka, "aggregates"))
                return len(found) >= len(hours) + len(bursts)

            try:
                wait_for("the results", complete, 90)
            except AssertionError:
                pass  # the comparison below says which are missing
            observed = collections.defaultdict(list)
            for text in found:
                self.assertEqual(field(text, "final"), "true")
                key = re.search(r'group_key: "([^"]*)"', text)[1]
                numbers = re.findall(r'name: "(\w+)"\s+(?:integer|number): (\S+)', text)
                top = sorted(re.findall(r'value: "([^"]*)"\s+count: (\d+)', text))
                observed[re.search(r'rule_id: "([^"]*)"', text)[1]].append(
                    (key, seconds(text, "window_start"), seconds(text, "window_end"), numbers, top))
            self.assertEqual(sorted(observed["agency-hours"]), hours)
            self.assertEqual(sorted(observed["township-bursts"]), bursts)

    def expected(self, rows):
        hours = collections.defaultdict(list)
        bursts = collections.Counter()
        highest = max(row[3] for row in rows)
        highest = datetime.datetime.strptime(highest, "%Y-%m-%d %H:%M")
        for row in rows:
            moment = datetime.datetime.strptime(row[3], "%Y-%m-%d %H:%M")
            start = moment.replace(minute=0)
            # The last hour goes on: time has not come to its end.
            if start + HOUR <= highest:
                hours[(row[2].split(":")[0], start)].append(row)
            bursts[(row[4], moment)] += 1
        answers = []
        for (agency, start), of_hour in hours.items():
            townships = collections.Counter(row[4] for row in of_hour)
            most = max(townships.values())
            north = max(float(row[0]) for row in of_hour)
            answers.append((agency, epoch(start), epoch(start + HOUR),
                            [("calls", str(len(of_hour))),
                             ("places", str(len({(row[0], row[1]) for row in of_hour}))), ("north", f"{north:.15g}")],
                            sorted((name, str(count)) for name, count in townships.items() if count == most)))
        return sorted(answers), sorted(
            (township, epoch(moment), epoch(moment), [("calls", str(count))], [])
            for (township, moment), count in bursts.items())


if __name__ == "__main__":
    unittest.main()
