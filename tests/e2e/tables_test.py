"""A rule that looks rows up in a table, through the whole running system, against a brute force."""

import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import calls
from system import ROOT, System, wait_for

RULE = """
id: district-load
stream: alerts.raw
order: event_time
max-disorder: 10m
idle-timeout: 1s
enrich:
  - {table: townships, key: township, as: home, fields: [crews]}
where: agency == "EMS" && home.crews < 5
correlation:
  type: event_count
  group-by: [home.district]
  timespan: 2h
  condition: {gte: 3}
"""
PACK = pathlib.Path(__file__).resolve().parent / "table_pack"
WRITER = pathlib.Path(os.environ.get("TOCSIN_TEST_BIN", ROOT / "build/release/tests")) / "topic_writer"
SPAN = datetime.timedelta(hours=2)


def text(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@unittest.skipUnless(shutil.which("protoc"), "not run: no protoc")
class TablesTest(unittest.TestCase):
    def test_events_meet_the_rows_of_their_time(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}", file=sys.stderr)
        rng = random.Random(seed)
        rows = calls.synthetic_rows(seed, count=400)
        moments = [datetime.datetime.strptime(row[3], "%Y-%m-%d %H:%M") for row in rows]
        # [(township, from when on, district or None, crews)]; some are never known, some change, some go.
        versions = []
        for township in sorted({row[4] for row in rows}):
            if rng.randrange(6) == 0:
                continue
            versions.append((township, datetime.datetime(2000, 1, 1), f"district {rng.randrange(3)}", rng.randrange(8)))
            for _ in range(rng.randrange(3)):
                district = None if rng.randrange(3) == 0 else f"district {rng.randrange(3)}"
                versions.append((township, rng.choice(moments), district, rng.randrange(8)))
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        (folder / "rule.yaml").write_text(RULE)
        calls.write_rows(folder / "calls.csv", rows)
        with System("--pack", "public-safety", "--pack", PACK) as system:
            self.system = system
            self.write(versions)
            wait_for("the table to be read", lambda: self.figure("tocsin_correlation_table_records_total") ==
                     len(versions), 30)
            system.run("rules", "apply", folder / "rule.yaml")
            system.replay(folder / "calls.csv")
            expected = self.expected(rows, moments, versions)
            self.assertGreater(len(expected), 3)
            try:
                wait_for("the detections",
                         lambda: len(system.json("detections", "list", "--rule", "district-load")) >= len(expected), 60)
            except AssertionError:
                pass  # the comparison below says which are missing
            self.assertEqual(system.detections("district-load"), expected)
            system.kill("correlation")
            # Read anew, the table is as it was.
            wait_for("the table to be read again",
                     lambda: self.figure("tocsin_correlation_table_records_total") == len(versions), 30)
            self.assertEqual(system.detections("district-load"), expected)

    def write(self, versions):
        request = urllib.request.Request(
            f"http://{self.system.registry}/subjects/townships-value/versions/latest",
            headers={"authorization": f"Bearer {self.system.token('schema.read')}"})
        number = json.loads(urllib.request.urlopen(request, timeout=10).read())["id"]
        lines = []
        for township, moment, district, crews in versions:
            value = "-"
            if district is not None:
                row = subprocess.run(
                    ["protoc", f"-I{PACK}", "--encode=tocsin.e2e.v1.Township", "township.proto"], check=True,
                    input=f'district: "{district}" crews: {crews}'.encode(), capture_output=True).stdout
                value = (b"\0" + number.to_bytes(4, "big") + b"\0" + row).hex()
            lines.append(f"{township}\t{value}\t{text(moment)}\n")
        subprocess.run([WRITER, self.system.kafka, "townships"], input="".join(lines), text=True, check=True, timeout=60)

    def figure(self, name):
        """The sum of a metric of correlation over its labels; None while it does not answer."""
        config = next((self.system.data / "config").glob("correlation*")).read_text()
        address = next(line.split('"')[1] for line in config.splitlines() if "admin-listen" in line)
        try:
            page = urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()
        except OSError:
            return None
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name + "{"))

    def expected(self, rows, moments, versions):
        windows = {}
        found = []
        order = sorted(range(len(rows)), key=lambda i: (moments[i], i))
        for i in order:
            known = [(moment, n, district, crews) for n, (township, moment, district, crews) in enumerate(versions)
                     if township == rows[i][4] and moment <= moments[i]]
            _, _, district, crews = max(known, default=(None, None, None, None))
            if district is None or crews >= 5 or rows[i][2].split(":")[0] != "EMS":
                continue
            window = [old for old in windows.get(district, []) if moments[old] > moments[i] - SPAN] + [i]
            windows[district] = window
            if len(window) < 3:
                continue
            found.append((district, text(moments[i]), tuple(sorted(old + 1 for old in window))))
            windows[district] = []
        return sorted(found)


if __name__ == "__main__":
    unittest.main()
