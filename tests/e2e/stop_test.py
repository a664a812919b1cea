"""SIGTERM while Kafka stands still: every process ends in good order and in time, and nothing acknowledged is lost."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import calls
import oracle
from live_test import Receiver
from system import System, wait_for

# What a process may take from SIGTERM to its end (process.stop_timeout).
STOP_SECONDS = 10
PROCESSES = ["ingest", "report", "notification", "gateway"]


class StopTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        receiver = Receiver()
        self.addCleanup(receiver.close)
        self.system = System("--webhook", receiver.url).__enter__()
        self.addCleanup(lambda: self.system.__exit__(None, None, None))

    def ends(self, name):
        """How `name` has ended so far, as the supervisor tells it: ["exit code 0", …]."""
        told = "\n".join(log.read_text(errors="replace") for log in (self.system.data / "logs").glob("*.log"))
        return re.findall(rf"\b{name} ended \(([^)]*)\)", told)

    def ready(self, *names):
        states = {process["name"]: process.get("ready", False) for process in self.system.json("status")["processes"]}
        return all(states[name] for name in names or states)

    def freeze(self, frozen):
        os.kill(self.system.processes()["kafka"], signal.SIGSTOP if frozen else signal.SIGCONT)

    def test_each_process_stops_while_kafka_stands_still(self):
        csv = self.folder / "calls.csv"
        calls.write_rows(csv, calls.synthetic_rows(seed=11, count=600))
        # Two and a quarter days of calls in about twenty seconds, a few in each call to ingest.
        replay = self.system.start("replay", "--pack", "public-safety", "--csv", csv, "--speed", "10000", "--chunk", "5",
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(replay.stdout.close)
        self.addCleanup(replay.wait)
        self.addCleanup(replay.kill)
        output = []
        reader = threading.Thread(target=lambda: output.append(replay.stdout.read()))
        reader.start()
        wait_for("an incident", lambda: self.system.json("incidents", "list"), 60)
        self.freeze(True)
        self.addCleanup(self.freeze, False)
        # From now on a call of the replay waits for Kafka in ingest.
        wait_for("ingest to see that Kafka is away", lambda: not self.ready("ingest"), 30)
        self.assertIsNone(replay.poll(), "the replay was too short for this test")

        pids = self.system.processes()
        took = {}
        for name in PROCESSES:
            os.kill(pids[name], signal.SIGTERM)
            begin = time.monotonic()
            wait_for(f"the end of {name}", lambda name=name: self.ends(name), STOP_SECONDS + 5)
            took[name] = round(time.monotonic() - begin, 1)
        print(f"seconds from SIGTERM to the end: {took}", file=sys.stderr)
        self.assertEqual({name: self.ends(name) for name in PROCESSES}, {name: ["exit code 0"] for name in PROCESSES},
                         f"seconds: {took}")
        self.assertLess(max(took.values()), STOP_SECONDS, took)

        # Kafka comes back, and so does everything else; what the replay was told is true.
        self.freeze(False)
        try:
            wait_for("the system to be ready again", self.ready, 60)
        except AssertionError as error:
            self.system.print_logs()
            raise AssertionError(f"{error}: {self.system.json('status')['processes']}") from None
        reader.join(timeout=120)
        self.assertEqual(replay.wait(timeout=10), 0, "".join(output))
        self.system.await_answers(self, oracle.answers(oracle.read_rows(csv)), timeout=60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
