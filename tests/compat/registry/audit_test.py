"""What was acknowledged before a registry ended on SIGTERM is in the audit log."""

import http.client
import os
import pathlib
import re
import signal
import subprocess
import threading
import unittest

from running import ROOT, Registries, wait_for

READER = pathlib.Path(os.environ.get("TOCSIN_TEST_BIN", ROOT / "build" / "release" / "tests")) / "topic_reader"
WRITERS = 24
# So many must have been written when the end comes, so that it comes in the midst of writing.
BEFORE_THE_END = 200


class StopTest(unittest.TestCase):
    def setUp(self):
        self.system = self.enterContext(Registries(1))
        self.lock = threading.Lock()
        self.acknowledged = set()
        self.faults = []

    def write(self, writer):
        """One subject after another until the registry is gone."""
        number = 0
        with self.system.connect() as connection:
            while True:
                number += 1
                subject = f"audited-{writer:02}-{number:05}"
                try:
                    answer = connection.register(subject, f'syntax = "proto3";\nmessage M{writer}x{number} {{}}\n')
                except (OSError, http.client.HTTPException):
                    return  # not acknowledged
                if answer.status == 200:
                    with self.lock:
                        self.acknowledged.add(subject)
                elif answer.status < 500:
                    self.faults.append(f"{subject}: {answer}")
                    return

    def audited(self):
        """The subjects whose registration is in the audit log."""
        read = subprocess.run([READER, self.system.kafka, "audit.event", "6"], capture_output=True, text=True,
                              check=True, timeout=60)
        subjects = set()
        for line in read.stdout.splitlines():
            entry = bytes.fromhex(line)
            if b"SchemaRegistryService/RegisterSchema" in entry:
                subjects.update(name.decode() for name in re.findall(rb"(audited-\d\d-\d{5})/1", entry))
        return subjects

    def test_what_was_acknowledged_before_sigterm_is_in_the_audit_log(self):
        replica = self.system.replicas[0]
        threads = [threading.Thread(target=self.write, args=(writer,)) for writer in range(WRITERS)]
        for thread in threads:
            thread.start()
        wait_for("the writers", lambda: len(self.acknowledged) >= BEFORE_THE_END, 60)
        replica.process.send_signal(signal.SIGTERM)
        self.assertEqual(replica.process.wait(30), 0)
        for thread in threads:
            thread.join()
        self.assertEqual(self.faults, [])
        self.assertGreaterEqual(len(self.acknowledged), BEFORE_THE_END)
        self.assertEqual(self.acknowledged - self.audited(), set())


if __name__ == "__main__":
    unittest.main()
