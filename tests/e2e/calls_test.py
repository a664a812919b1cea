"""Real and synthetic calls through the whole running system; every detection and every count against the oracle."""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import calls
import oracle
from system import BIN, ROOT, System

DATA = pathlib.Path(os.environ.get("TOCSIN_911_DIR", ROOT.parent / "shared" / "data"))
CALLS = DATA / "911-calls.csv"
needs_data = unittest.skipUnless(CALLS.exists(), f"not run: no data ({DATA} has no 911-calls.csv)")


def published_answers():
    rules = json.loads((DATA / "911-expected.json").read_text())["rules"]
    return {
        rule: {
            "detections": sorted((d["key"], d["fired_at"], tuple(d["rows"])) for d in answer["detections"]),
            "incidents": answer["incident_count"],
        }
        for rule, answer in rules.items()
    }


class OracleTest(unittest.TestCase):
    @needs_data
    def test_brute_force_agrees_with_the_published_answers(self):
        self.assertEqual(oracle.answers(oracle.read_rows(CALLS)), published_answers())


class ReplayTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.csv = pathlib.Path(self.folder.name) / "calls.csv"

    @needs_data
    def test_the_real_calls_give_the_published_answers(self):
        with System() as system:
            system.replay(CALLS)
            system.await_answers(self, published_answers())
            # Again: every copy is recognised, nothing counts twice. And a restart forgets nothing.
            system.replay(CALLS)
            system.down()
            system.up()
            system.await_answers(self, published_answers())

    @needs_data
    def test_a_shuffled_copy_gives_its_own_answers(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}", file=sys.stderr)
        calls.write_rows(self.csv, calls.shuffled_rows(CALLS, seed))
        with System() as system:
            system.replay(self.csv)
            system.await_answers(self, oracle.answers(oracle.read_rows(self.csv)))

    @needs_data
    def test_kill_9_of_each_process_changes_nothing(self):
        self.replay_under_kills(CALLS, published_answers())

    def test_synthetic_calls_give_the_brute_force_answers(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}", file=sys.stderr)
        calls.write_rows(self.csv, calls.synthetic_rows(seed))
        self.replay_under_kills(self.csv, oracle.answers(oracle.read_rows(self.csv)))

    def replay_under_kills(self, path, expected):
        """kill -9 hits each process once, spread over the replay."""
        victims = ["ingest", "correlation", "report", "gateway", "schema-registry", "kafka"]
        random.shuffle(victims)
        with System() as system:
            replay = system.start("replay", "--pack", "public-safety", "--csv", path, "--speed", "max", "--chunk", "20",
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output = []
            reader = threading.Thread(target=lambda: output.append(replay.stdout.read()))
            reader.start()
            for victim in victims:
                system.kill(victim)
            reader.join(timeout=180)
            self.assertEqual(replay.wait(timeout=10), 0, "".join(output))
            system.await_answers(self, expected, timeout=60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
