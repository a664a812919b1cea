"""One distributed trace covers the way of an event, from `tocsin publish` to every reader of its incident."""

import json
import os
import pathlib
import subprocess
import threading
import unittest

from live_test import Receiver
from system import BIN, System, wait_for

TEST_BIN = pathlib.Path(os.environ.get("TOCSIN_TEST_BIN", BIN.parent / "tests"))


class Spans:
    """What an OTLP collector receives, kept by span id. Ends with `close`."""

    def __init__(self):
        self.sink = subprocess.Popen([TEST_BIN / "otlp_sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.sink.stdout.readline())["port"]
        self.spans = {}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.sink.stdout:
            span = json.loads(line)
            self.spans[span["span"]] = span

    def close(self):
        self.sink.stdin.close()
        self.sink.wait(timeout=10)

    def named(self, service, name):
        return [span for span in list(self.spans.values()) if span["service"] == service and span["name"] == name]

    def way_up(self, span):
        """[(service, name), …] from the root to this span."""
        way = []
        while span is not None:
            way.insert(0, (span["service"], span["name"]))
            span = self.spans.get(span["parent"])
        return way


class TraceTest(unittest.TestCase):
    def test_one_trace_from_publish_to_notification_report_and_gateway(self):
        spans = Spans()
        self.addCleanup(spans.close)
        receiver = Receiver()
        self.addCleanup(receiver.close)
        collector = f"127.0.0.1:{spans.port}"
        with System("--otlp", collector, "--webhook", receiver.url) as system:
            watch = system.start("incidents", "watch", "--count", "1", stdout=subprocess.DEVNULL)
            self.addCleanup(watch.wait)
            self.addCleanup(watch.kill)
            for minute, agency in enumerate(["EMS", "EMS"]):
                alert = {"source": "trace", "agency": agency, "kind": "FALL", "place": "1,2", "township": f"T{minute}"}
                system.run("--otlp", collector, "publish", "--stream", "alerts.raw", "--data", json.dumps(alert),
                           "--time", f"2017-01-01T00:0{minute}:00Z")

            def arrived():
                return all(spans.named(service, "process incidents.correlated")
                           for service in ["notification", "report", "gateway"])
            wait_for("the spans of all readers", arrived, 60)
            told = spans.named("notification", "process incidents.correlated")[0]

            def whole():
                return spans.way_up(told)[0][0] == "tocsin"
            try:
                wait_for("the whole way", whole, 20)
            except AssertionError:
                self.fail(f"the way up from notification ends too early: {spans.way_up(told)}")

            way = spans.way_up(told)
            names = [name for _, name in way]
            expected = ["send alerts.raw", "process alerts.raw", "send incidents.correlated",
                        "process incidents.correlated"]
            self.assertEqual([name for name in names if name in expected], expected, way)
            self.assertIn(("ingest", "tocsin.ingest.v1.IngestService/Publish"), way)
            self.assertIn(("gateway", "tocsin.ingest.v1.IngestService/Publish"), way)
            self.assertTrue(any("repartition" in name for name in names), f"the repartition hop: {way}")

            # The event that fires is the parent; the other contributing one is a link.
            first = spans.named("ingest", "send alerts.raw")
            self.assertEqual(len({span["trace"] for span in first}), 2)
            own_trace = told["trace"]
            other = [span["span"] for span in first if span["trace"] != own_trace]
            linked = {link for span in list(spans.spans.values()) if span["trace"] == own_trace
                      and span["service"] == "correlation" for link in span["links"]}
            ways_of_linked = [spans.way_up(spans.spans[link]) for link in linked if link in spans.spans]
            self.assertTrue(set(other) & linked or ways_of_linked, "the first event is linked")
            self.assertEqual({span["trace"] for service in ["report", "gateway", "notification"]
                              for span in spans.named(service, "process incidents.correlated")}, {own_trace})


if __name__ == "__main__":
    unittest.main(verbosity=2)
