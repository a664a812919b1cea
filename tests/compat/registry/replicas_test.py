"""Three replicas of the registry on one Kafka, killed at random while a thousand schemas are registered."""

import collections
import contextlib
import http.client
import os
import queue
import random
import threading
import time
import unittest

from running import OWN_SUBJECT, Registries, quoted

SEED = int(os.environ.get("TOCSIN_SEED", "20260401"))
REGISTRATIONS = 1000
SUBJECTS = 120
WRITERS = 24
# Longest time in which one registration must have been acknowledged, whatever dies.
PATIENCE = 90


def schema(number):
    return f'syntax = "proto3";\npackage killed;\n\nmessage M {{\n  int32 f{number} = {number + 1};\n}}\n'


def work(choice):
    """(subject, number of the schema). One in ten has a content that another subject has too."""
    items = []
    for number in range(REGISTRATIONS):
        content = choice.randrange(number) if number and choice.random() < 0.1 else number
        items.append((f"s{number % SUBJECTS}", content))
    choice.shuffle(items)
    return items


class KillTest(unittest.TestCase):
    def setUp(self):
        self.system = self.enterContext(Registries(3))
        self.answers = collections.defaultdict(set)  # (subject, content): ids that were acknowledged
        self.problems = []
        self.retries = collections.Counter()
        self.lock = threading.Lock()
        self.finished = threading.Event()

    def fault(self, text):
        with self.lock:
            self.problems.append(text)

    def attempt(self, connections, choice, what, ask, final):
        """ask(connection) until final(answer), on replicas at random. None after PATIENCE seconds."""
        deadline = time.monotonic() + PATIENCE
        last = None
        while time.monotonic() < deadline:
            try:
                last = ask(choice.choice(connections))
                if final(last):
                    return last
                with self.lock:
                    self.retries[f"{last.status} {last.json['error_code']}"] += 1
            except (OSError, http.client.HTTPException) as error:
                last = repr(error)
                with self.lock:
                    self.retries[type(error).__name__] += 1
            time.sleep(0.005 + 0.02 * choice.random())  # as a client backs off; nothing waits for it
        self.fault(f"{what}: not within {PATIENCE} s; the last answer was {last}")
        return None

    def write(self, number, items):
        choice = random.Random(f"{SEED}/{number}")
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(self.system.connect(replica, timeout=15)) for replica in range(3)]
            with contextlib.suppress(queue.Empty):
                while True:
                    self.write_one(choice, connections, *items.get_nowait())

    def write_one(self, choice, connections, subject, content):
        answer = self.attempt(connections, choice, f"registering {content} under {subject}",
                              lambda c: c.register(subject, schema(content)), lambda a: a.status < 500)
        if answer is None:
            return
        if answer.status != 200:
            self.fault(f"{subject}, {content}: {answer}")
            return
        given = answer.json["id"]
        with self.lock:
            self.answers[subject, content].add(given)
        # Acknowledged: any other replica that answers at all has it, now.
        read = self.attempt(connections, choice, f"reading {given}",
                            lambda c: c.get(f"/schemas/ids/{given}"), lambda a: a.status < 500)
        if read is not None and (read.status != 200 or f"f{content} " not in read.json["schema"]):
            self.fault(f"id {given}, acknowledged for {content}, reads {read}")

    def kill_at_random(self):
        choice = random.Random(f"{SEED}/killer")
        kills = 0
        while not self.finished.wait(0.15 + 0.5 * choice.random()):
            victim = choice.choice(self.system.replicas)
            victim.kill()
            kills += 1
            if self.finished.wait(0.3 * choice.random()):
                victim.start()
                break
            victim.start()
        self.kills = kills

    def test_no_id_is_lost_or_given_twice(self):
        items = queue.Queue()
        for item in work(random.Random(SEED)):
            items.put(item)
        writers = [threading.Thread(target=self.write, args=(number, items)) for number in range(WRITERS)]
        killer = threading.Thread(target=self.kill_at_random)
        began = time.monotonic()
        for thread in [*writers, killer]:
            thread.start()
        for thread in writers:
            thread.join()
        took = time.monotonic() - began
        self.finished.set()
        killer.join()
        print(f"seed {SEED}: {len(self.answers)} registrations in {took:.1f} s, {self.kills} kills, "
              f"tried again: {dict(self.retries)}", flush=True)
        self.assertEqual(self.problems[:10], [])
        self.assertGreater(self.kills, 3)

        # One id for one content, one content for one id.
        by_content, by_id = collections.defaultdict(set), collections.defaultdict(set)
        for (_, content), ids in self.answers.items():
            by_content[content] |= ids
            for one in ids:
                by_id[one].add(content)
        self.assertEqual([(c, ids) for c, ids in by_content.items() if len(ids) != 1], [])
        self.assertEqual([(i, contents) for i, contents in by_id.items() if len(contents) != 1], [])

        # Every replica, fresh or old, says the same of all of it.
        for replica in self.system.replicas:
            replica.await_ready()
        tables = []
        for number in range(3):
            with self.system.connect(number) as connection:
                for given, contents in by_id.items():
                    text = connection.get(f"/schemas/ids/{given}").json["schema"]
                    self.assertIn(f"f{next(iter(contents))} ", text)
                table = {}
                for subject in connection.get("/subjects").json:
                    if subject == OWN_SUBJECT:
                        self.assertNotIn(connection.get(f"/subjects/{OWN_SUBJECT}/versions/1").json["id"], by_id)
                        continue
                    for version in connection.get(f"/subjects/{quoted(subject)}/versions").json:
                        one = connection.get(f"/subjects/{quoted(subject)}/versions/{version}").json
                        table[subject, version] = (one["id"], one["schema"])
                tables.append(table)
        self.assertEqual(tables[0], tables[1])
        self.assertEqual(tables[0], tables[2])
        self.assertEqual({(subject, given) for (subject, _), (given, _) in tables[0].items()},
                         {(subject, given) for (subject, _), ids in self.answers.items() for given in ids})
        # Nothing twice under a subject, and versions without a hole.
        for subject in {subject for subject, _ in tables[0]}:
            versions = sorted(version for name, version in tables[0] if name == subject)
            self.assertEqual(versions, list(range(1, len(versions) + 1)), subject)
            ids = [given for (name, _), (given, _) in tables[0].items() if name == subject]
            self.assertEqual(len(ids), len(set(ids)), subject)

    def test_what_one_replica_acknowledged_another_has_at_once(self):
        connections = [self.enterContext(self.system.connect(number)) for number in range(3)]
        for number in range(150):
            writer, reader = connections[number % 3], connections[(number + 1) % 3]
            given = writer.register(f"own-{number}", schema(number)).json["id"]
            self.assertEqual(reader.get(f"/schemas/ids/{given}").status, 200)
            self.assertEqual(reader.get(f"/subjects/own-{number}/versions/latest").json["id"], given)
            self.assertIn(f"own-{number}", reader.get("/subjects").json)
            if number % 10 == 0:
                self.assertEqual(reader.ask("DELETE", f"/subjects/own-{number}").status, 200)
                self.assertEqual(writer.get(f"/subjects/own-{number}/versions").status, 404)


if __name__ == "__main__":
    unittest.main()
