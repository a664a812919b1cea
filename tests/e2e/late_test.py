"""Every event is accounted for: an event that comes too late is kept with the reason, and the figures add up."""

import http.client
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import calls
from system import ROOT, System, wait_for

READER = pathlib.Path(os.environ.get("TOCSIN_TEST_BIN", ROOT / "build/release/tests")) / "topic_reader"
STREAM = "alerts.raw"


def metrics(system):
    """{(name, {label: value} as a frozenset): value} of correlation."""
    config = next(path for path in sorted(system.data.rglob("*.yaml"))
                  if path.stem == "correlation" and "admin-listen" in path.read_text())
    host, port = re.search(r'admin-listen: "?([^"\s]+)"?', config.read_text())[1].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = {}
    for line in text.splitlines():
        sample = re.fullmatch(r'(tocsin_correlation_\w+)\{(.*)\} (\S+)', line)
        if sample:
            found[(sample[1], frozenset(re.findall(r'(\w+)="([^"]*)"', sample[2])))] = float(sample[3])
    return found


def value(found, name, **labels):
    return found.get((f"tocsin_correlation_{name}", frozenset(labels.items())), 0)


class LateTest(unittest.TestCase):
    def test_late_events_are_kept_and_the_figures_add_up(self):
        rows = calls.synthetic_rows(7, count=200)
        # The same call as the last one, but a day before: its own partition has long passed that time.
        late = list(rows[-1])
        late[3] = "2017-02-28 00:00"
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        calls.write_rows(folder / "calls.csv", rows)
        with System() as system:
            system.replay(folder / "calls.csv")
            # All of them repeated, and one more. A file's rows are sent in the order of their times.
            calls.write_rows(folder / "calls.csv", rows + [late])
            system.replay(folder / "calls.csv")
            wait_for("every event to be read",
                     lambda: value(metrics(system), "in_total", stream=STREAM) == 2 * len(rows) + 1, 60)
            found = metrics(system)

            def events(outcome):
                return value(found, "events_total", stream=STREAM, outcome=outcome)

            self.assertEqual(events("duplicate"), len(rows))
            self.assertEqual(value(found, "in_total", stream=STREAM),
                             events("invalid") + events("duplicate") + events("accepted"))
            rules = {dict(labels)["rule"] for name, labels in found if name.endswith("_rule_events_total")}
            self.assertEqual(rules, {"area-surge", "multi-agency", "repeat-location"})
            for rule in rules:
                outcomes = [value(found, "rule_events_total", rule=rule, stream=STREAM, outcome=outcome)
                            for outcome in ("filtered", "missing_key", "late", "taken")]
                undecided = value(found, "rule_undecided_events", rule=rule, stream=STREAM)
                self.assertEqual(events("accepted"), sum(outcomes) + undecided, rule)
                self.assertEqual(outcomes[2], 0 if rule == "area-surge" else 1, rule)
            self.assertEqual(value(found, "unreconciled_total", stream=STREAM), 0)
            self.assertEqual(value(found, "late_records_total", stream=STREAM), 1)
            kept = subprocess.run([READER, system.kafka, f"{STREAM}.late", "6"], check=True, capture_output=True,
                                  text=True, timeout=60).stdout.split()
            self.assertEqual(len(kept), 1)
            self.assertIn(b"ROAD", bytes.fromhex(kept[0]))


if __name__ == "__main__":
    unittest.main()
