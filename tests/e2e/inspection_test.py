"""Looking into correlation while it runs: its lag, and what it holds, against a brute force over the rows."""

import datetime
import unittest

import oracle
from calls_test import CALLS, needs_data, published_answers
from system import System, wait_for


def held(rows, rule):
    """{key: [row, …]}: what a later event of the key could still meet, at the end of the file."""
    key_field, value_field, at_least, timespan, _ = oracle.RULES[rule]
    span = datetime.timedelta(minutes=timespan)
    windows = {}
    for row in sorted(rows, key=lambda row: (row["minute"], row["row"])):
        window = windows.setdefault(row[key_field], [])
        window[:] = [old for old in window if old["minute"] > row["minute"] - span] + [row]
        if len({old[value_field] for old in window} if value_field else window) >= at_least:
            window.clear()
    return {key: [row["row"] for row in window] for key, window in windows.items()}


class InspectionTest(unittest.TestCase):
    def await_no_lag(self, system):
        def done():
            partitions = system.json("lag")
            return partitions if all(int(p["recordsBehind"]) == 0 and p["owner"] and not p["problem"]
                                     for p in partitions) else None
        partitions = wait_for("nothing to be left", done, 30)
        self.assertGreaterEqual(len(partitions), 6)
        self.assertTrue(all(p["secondsBehind"] == 0 for p in partitions), partitions)
        return partitions

    def check_state(self, system, rows):
        """The keys that were busy at the very end: nothing of theirs is out of reach yet."""
        last = max(row["minute"] for row in rows)
        checked = 0
        for rule, (key_field, _, _, timespan, _) in oracle.RULES.items():
            recent = {row[key_field] for row in rows if last - row["minute"] < datetime.timedelta(minutes=timespan / 2)}
            expected = held(rows, rule)
            for key in sorted(recent)[:5]:
                state = system.json("state", "show", "--rule", rule, "--key", key)
                self.assertEqual(state["source"], "SOURCE_STORE")
                events = [(int(event["reference"]["sequence"]), event["reference"]["time"])
                          for event in state["events"] + state["waiting"]]
                # Rules in order of arrival keep more, for events that come late.
                newest = max(row["minute"] for row in rows if row[key_field] == key)
                start = (newest - datetime.timedelta(minutes=timespan)).strftime("%Y-%m-%dT%H:%M:%SZ")
                shown = [row for row, time in events if time > start]
                self.assertEqual(shown, expected[key], f"{rule} {key}: {state}")
                checked += 1
        return checked

    @needs_data
    def test_the_real_calls_leave_no_lag_and_the_state_of_the_brute_force(self):
        with System() as system:
            system.replay(CALLS)
            system.await_answers(self, published_answers())
            self.await_no_lag(system)
            self.assertGreater(self.check_state(system, oracle.read_rows(CALLS)), 0)
            # Whole transactions, each once and in order.
            verified = system.json("verify")
            self.assertEqual(len(verified), 1, verified)
            summary = verified[0]["summary"]
            self.assertGreater(int(summary["outputs"]), 350)
            self.assertEqual(summary["violations"], {})
            self.assertEqual(summary["wholeFromTime"], summary["fromTime"])
            # For people.
            table = system.run("lag")
            self.assertIn("TOPIC", table.stdout)
            self.assertIn("Nothing is left to be read", table.stderr)
            incident = system.json("incidents", "list", "--rule", "area-surge", "--limit", 1)[0]
            shown = system.run("state", "show", "--rule", "area-surge", "--key", incident["groupKey"][0])
            self.assertIn("township=" + incident["groupKey"][0], shown.stdout)
            self.assertEqual(system.run("state", "show", "--rule", "area-surgee", "--key", "X", check=False).returncode, 3)
            self.assertEqual(system.run("state", "show", "--rule", "area-surge", check=False).returncode, 1)


if __name__ == "__main__":
    unittest.main()
