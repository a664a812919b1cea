"""A rule that joins two streams, through the whole running system and a `kill -9`, against a brute force over all pairs."""

import csv
import datetime
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import unittest

import calls
from system import System, wait_for

RULE = """
id: crew-for-call
order: event_time
max-disorder: 10m
idle-timeout: 8s
join:
  left: {stream: alerts.raw, where: agency != "Traffic", key: [township], as: call}
  right: {stream: units.raw, key: [district], as: unit}
  within: 10m
  where: call.agency == unit.agency && unit.crew > 1
"""
PACK = pathlib.Path(__file__).resolve().parent / "join_pack"
WITHIN = datetime.timedelta(minutes=10)


def parsed(text):
    return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M")


class JoinsTest(unittest.TestCase):
    def test_pairs_are_those_of_the_brute_force(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}", file=sys.stderr)
        rng = random.Random(seed)
        rows = calls.synthetic_rows(seed, count=500)
        # The last of each side make a pair.
        rows[-1][2] = "EMS: FALL VICTIM"
        units = []
        for _, _, title, time, township, _ in rows:
            for _ in range(rng.randrange(3)):
                moment = parsed(time) + datetime.timedelta(minutes=rng.randrange(-14, 15))
                agency = rng.choice([title.split(":")[0], "EMS"])
                units.append([f"unit {rng.randrange(40)}", agency, rng.randrange(5), moment, township])
        units = [unit for unit in units if unit[3] <= parsed(rows[-1][3])]
        units.append(["unit 1", "EMS", 2, parsed(rows[-1][3]), rows[-1][4]])
        units.sort(key=lambda unit: unit[3])
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        (folder / "rule.yaml").write_text(RULE)
        calls.write_rows(folder / "calls.csv", rows)
        with open(folder / "units.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["unit", "agency", "crew", "time", "district"])
            for unit in units:
                writer.writerow([*unit[:3], unit[3].strftime("%Y-%m-%d %H:%M"), unit[4]])
        expected = self.expected(rows, units)
        self.assertGreater(len(expected), 50)
        with System("--pack", "public-safety", "--pack", PACK) as system:
            system.run("rules", "apply", folder / "rule.yaml")
            other = threading.Thread(target=lambda: system.run("replay", "--pack", PACK, "--csv", folder / "units.csv",
                                                               "--speed", "max"))
            other.start()
            system.replay(folder / "calls.csv")
            system.kill("correlation")
            other.join()
            try:
                wait_for("the pairs", lambda: len(self.found(system)) >= len(expected), 90)
            except AssertionError:
                pass  # the comparison below says which are missing
            self.assertEqual(self.found(system), expected)
            state = system.json("state", "show", "--rule", "crew-for-call", "--key", rows[-1][4])
            held = {(event["values"][0], int(event["reference"]["sequence"])) for event in state["events"]}
            self.assertIn(("call", len(rows)), held)
            self.assertIn("unit", {name for name, _ in held})
            self.assertEqual({upstream["stream"] for upstream in state["upstream"]}, {"units.raw"})

    @staticmethod
    def found(system):
        pairs = []
        for detection in system.json("detections", "list", "--rule", "crew-for-call"):
            rows = {event["topic"]: int(event["sequence"]) for event in detection["evidence"]}
            pairs.append((detection["groupKey"][0], detection["time"], rows["alerts.raw"], rows["units.raw"]))
        return sorted(pairs)

    @staticmethod
    def expected(rows, units):
        pairs = []
        for i, (_, _, title, time, township, _) in enumerate(rows):
            agency = title.split(":")[0]
            if agency == "Traffic":
                continue
            for k, (_, of, crew, moment, district) in enumerate(units):
                if district != township or of != agency or crew <= 1 or abs(moment - parsed(time)) > WITHIN:
                    continue
                pairs.append((township, max(moment, parsed(time)).strftime("%Y-%m-%dT%H:%M:%SZ"), i + 1, k + 1))
        return sorted(pairs)


if __name__ == "__main__":
    unittest.main()
