"""What clients outside see as it happens: gRPC (grpcurl), gRPC-Web (connect-web under Node), webhooks, reflection."""

import http.server
import json
import pathlib
import shutil
import subprocess
import tempfile
import threading
import unittest

import calls
import oracle
from system import ROOT, System, wait_for

HERE = pathlib.Path(__file__).parent
needs_grpcurl = unittest.skipUnless(shutil.which("grpcurl"), "not run: no grpcurl (./dev test builds it)")
needs_node = unittest.skipUnless(shutil.which("node") and (HERE / "web" / "node_modules").exists(),
                                 "not run: no node or its packages (./dev test fetches them)")


class Receiver:
    """A webhook receiver on loopback: keeps (headers, body) of each POST; fails the first `failures` with 503."""

    def __init__(self, failures=0):
        self.received = []
        self.failures = failures
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                failed = receiver.failures > 0
                receiver.failures -= failed
                receiver.received.append((dict(self.headers), body, not failed))
                self.send_response(503 if failed else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Lines:
    """The lines of a process's standard output, as they come."""

    def __init__(self, process):
        self.lines = []
        threading.Thread(target=lambda: [self.lines.append(line.rstrip("\n")) for line in process.stdout],
                         daemon=True).start()


class LiveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.csv = cls.folder / "calls.csv"
        calls.write_rows(cls.csv, calls.synthetic_rows(seed=7, count=120))
        cls.receiver = Receiver(failures=2)
        cls.addClassCleanup(cls.receiver.close)
        cls.system = cls.enter(System("--webhook", cls.receiver.url))

    @classmethod
    def enter(cls, context):
        value = context.__enter__()
        cls.addClassCleanup(context.__exit__, None, None, None)
        return value

    def grpcurl(self, *arguments, role="viewer", token=None, **options):
        token = token if token is not None else self.system.token(role)
        return ["grpcurl", "-plaintext", "-H", f"authorization: Bearer {token}", *arguments]

    def descriptors(self):
        path = self.folder / "live.pb"
        subprocess.run(["protoc", f"-I{ROOT / 'proto'}", "--include_imports", f"--descriptor_set_out={path}",
                        "tocsin/live/v1/live.proto"], check=True)
        return path

    @needs_grpcurl
    def test_reflection_lists_the_services(self):
        result = subprocess.run(self.grpcurl(self.system.gateway, "list"), capture_output=True, text=True, timeout=30)
        self.assertEqual(result.returncode, 0, result.stderr)
        for service in ["tocsin.ingest.v1.IngestService", "tocsin.report.v1.ReportService",
                        "tocsin.live.v1.LiveService", "grpc.health.v1.Health"]:
            self.assertIn(service, result.stdout.split())
        result = subprocess.run(self.grpcurl(self.system.gateway, "describe", "tocsin.live.v1.SubscribeRequest"),
                                capture_output=True, text=True, timeout=30)
        self.assertIn("min_severity", result.stdout, result.stderr)

    @needs_grpcurl
    def test_reflection_needs_a_token_and_health_does_not(self):
        refused = subprocess.run(["grpcurl", "-plaintext", self.system.gateway, "list"], capture_output=True,
                                 text=True, timeout=30)
        self.assertNotEqual(refused.returncode, 0)
        health = subprocess.run(
            ["grpcurl", "-plaintext", "-import-path", ROOT / "proto", "-proto", "grpc/health/v1/health.proto",
             self.system.gateway, "grpc.health.v1.Health/Check"], capture_output=True, text=True, timeout=30)
        self.assertIn("SERVING", health.stdout, health.stderr)

    @needs_grpcurl
    @needs_node
    def test_grpc_and_grpc_web_and_webhook_tell_the_same_incidents(self):
        expected = oracle.answers(oracle.read_rows(self.csv))
        revisions = sum(len(answer["detections"]) for answer in expected.values())
        self.assertGreater(revisions, 10)
        web = subprocess.Popen(
            ["node", HERE / "web" / "subscribe.mjs", f"http://{self.system.gateway}", self.descriptors(),
             self.system.token("viewer"), str(revisions)], stdout=subprocess.PIPE, text=True)
        native = subprocess.Popen(
            self.grpcurl("-d", '{"kinds": ["KIND_INCIDENT"], "from": "FROM_LATEST"}', self.system.gateway,
                         "tocsin.live.v1.LiveService/Subscribe"), stdout=subprocess.PIPE, text=True)
        self.addCleanup(native.wait)
        self.addCleanup(native.kill)
        self.addCleanup(web.wait)
        self.addCleanup(web.kill)
        web_lines, native_lines = Lines(web), Lines(native)
        wait_for("the gRPC-Web subscription", lambda: "ready" in web_lines.lines, 20)
        wait_for("the gRPC subscription", lambda: any("heartbeat" in line for line in native_lines.lines), 20)

        self.system.replay(self.csv)
        self.system.await_answers(self, expected)
        ids = {incident["id"] for rule in expected for incident in
               self.system.json("incidents", "list", "--rule", rule)}
        self.assertEqual(web.wait(timeout=30), 0)
        self.assertEqual({line for line in web_lines.lines if line != "ready"}, ids)
        self.assertEqual(len(web_lines.lines) - web_lines.lines.count("ready"), revisions)

        def native_incidents():
            text = "".join(native_lines.lines)
            decoder, found, at = json.JSONDecoder(), [], 0
            while at < len(text):
                try:
                    value, at = decoder.raw_decode(text, at)
                except ValueError:
                    break
                found += [value["incident"]["id"]] if "incident" in value else []
            return found
        wait_for("the gRPC stream", lambda: len(native_incidents()) >= revisions, 20)
        self.assertEqual(set(native_incidents()), ids)

        # The webhook heard of each incident at least once, under a key that is the same on every attempt.
        def delivered():
            return {headers["Idempotency-Key"] for headers, _, accepted in self.receiver.received if accepted}
        wait_for("the webhooks", lambda: len(delivered()) >= len(ids), 30)
        self.assertEqual(len(delivered()), len(ids))
        refused = {headers["Idempotency-Key"] for headers, _, accepted in self.receiver.received if not accepted}
        self.assertTrue(refused <= delivered(), "what was refused at first was sent again under the same key")


if __name__ == "__main__":
    unittest.main(verbosity=2)
