"""What a person reads when something is wrong: each message says what, where and what to do."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request

from system import BIN, ROOT, System, free_port, wait_for

GOOD = {"source": "test", "agency": "EMS", "kind": "FALL", "place": "1,2", "township": "T"}


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.system = System().__enter__()
        cls.addClassCleanup(cls.system.__exit__, None, None, None)

    def refused(self, *arguments, says, exit_code=None, **options):
        """The command fails, and its standard error has every one of `says` (regular expressions)."""
        result = self.system.run(*arguments, check=False, **options)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        if exit_code is not None:
            self.assertEqual(result.returncode, exit_code, result.stderr)
        for pattern in says:
            self.assertRegex(result.stderr, pattern)
        return result.stderr

    def publish(self, data, *options):
        return ["publish", "--stream", "alerts.raw", "--data", json.dumps(data), *options]

    def test_an_unknown_stream(self):
        self.refused("publish", "--stream", "alerts.rwa", "--data", json.dumps(GOOD), says=["alerts.rwa"])

    def test_an_unknown_field_and_a_field_of_the_wrong_type(self):
        self.refused(*self.publish(dict(GOOD, agencyy="EMS")), says=["agencyy"])
        self.refused(*self.publish(dict(GOOD, latitude="north")), says=["latitude"])

    def test_an_event_too_large(self):
        self.refused("publish", "--stream", "alerts.raw", "--data", "-", says=["1 MiB|1048576|1,048,576"],
                     input=json.dumps(dict(GOOD, address="x" * (1 << 20))))

    def test_no_token_a_forged_one_and_one_without_the_role(self):
        for token, says in [("", "token"), ("not.a.token", "token")]:
            path = self.folder / "token"
            path.write_text(token)
            self.refused("--token-file", path, "incidents", "list", says=[says], exit_code=6)
        header, claims, signature = self.system.token("viewer").split(".")
        padded = claims + "=" * (-len(claims) % 4)
        changed = json.loads(base64.urlsafe_b64decode(padded))
        changed["roles"] = ["admin"]
        forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
        path = self.folder / "forged"
        path.write_text(".".join([header, forged, signature]))
        self.refused("--token-file", path, "incidents", "list", says=["signature|token"], exit_code=6)
        path.write_text(self.system.token("viewer"))
        self.refused("--token-file", path, *self.publish(GOOD), says=["producer", "tocsin token"], exit_code=6)

    def test_a_schema_that_breaks_compatibility(self):
        text = (ROOT / "packs/public-safety/proto/tocsin/packs/publicsafety/v1/alert.proto").read_text()
        broken = self.folder / "alert.proto"
        broken.write_text(text.replace("string township = 9;", "fixed64 township = 9;"))
        self.refused("schema", "register", "--subject", "alerts.raw-value", broken,
                     says=["township", "FIELD_SCALAR_KIND_CHANGED|FIELD_KIND_CHANGED"])
        request = urllib.request.Request(
            f"http://{self.system.registry}/subjects/alerts.raw-value/versions",
            data=json.dumps({"schemaType": "PROTOBUF", "schema": broken.read_text()}).encode(),
            headers={"content-type": "application/vnd.schemaregistry.v1+json",
                     "authorization": f"Bearer {self.system.token('schema.write')}"})
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        self.assertEqual(caught.exception.code, 409)
        self.assertIn("township", caught.exception.read().decode())

    def test_a_rule_that_does_not_compile(self):
        rule = (ROOT / "packs/public-safety/rules/repeat-location.yaml").read_text()
        for change, says in [
            (("group-by: [place]", "group-by: [plce]"), [r"plce", r"place", r":\d+:\d+"]),
            (("stream: alerts.raw", "stream: alerts.raw\nwhere: agency = 'EMS'"), [r":\d+:\d+"]),
            (("stream: alerts.raw", "stream: alerts.raw\nwhere: agencyy == 'EMS'"), [r"agencyy", r":\d+:\d+"]),
            (("timespan: 10m", "timspan: 10m"), [r"timspan", r"timespan", r":\d+:\d+"]),
        ]:
            path = self.folder / "rule.yaml"
            self.assertIn(change[0], rule)
            path.write_text(rule.replace(*change))
            self.refused("rules", "apply", path, says=says + ["rule.yaml"])

    def test_a_request_that_is_no_message(self):
        for service, method in [("tocsin.report.v1.ReportService", "ListIncidents"),
                                ("tocsin.live.v1.LiveService", "Subscribe"),
                                ("tocsin.ingest.v1.IngestService", "PublishBatch")]:
            expected = f"{service.rpartition('.')[0]}.{method}Request"
            request = urllib.request.Request(
                f"http://{self.system.gateway}/{service}/{method}", data=b"\0\0\0\0\3\xff\xff\xff",
                headers={"content-type": "application/grpc-web+proto",
                         "authorization": f"Bearer {self.system.token('admin')}"})
            with urllib.request.urlopen(request, timeout=10) as response:
                said = urllib.parse.unquote(f"{response.headers} {response.read().decode()}")
            self.assertRegex(said, r"grpc-status: ?3\b")
            self.assertIn(f"the request is not a {expected}", said)

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            result = subprocess.run(
                [BIN / "tocsin", "up", "--detach", "--no-demo", "--data", self.folder / "other", "--gateway",
                 f"127.0.0.1:{port}"], env=dict(self.system.environment, XDG_CONFIG_HOME=str(self.folder / "config")),
                capture_output=True, text=True, timeout=60)
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, str(port))
        self.assertRegex(result.stderr, "--gateway")
        self.assertFalse((self.folder / "other" / "logs" / "kafka.log").exists(), "nothing was started")

    def test_one_port_given_twice(self):
        result = subprocess.run(
            [BIN / "tocsin", "up", "--detach", "--no-demo", "--data", self.folder / "twice", "--gateway",
             "127.0.0.1:1999", "--registry", "127.0.0.1:1999"],
            env=dict(self.system.environment, XDG_CONFIG_HOME=str(self.folder / "config")),
            capture_output=True, text=True, timeout=60)
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, "127.0.0.1:1999 is given to the gateway and to the schema registry")
        self.assertRegex(result.stderr, "--registry")

    def test_a_pack_that_is_not_there_is_said_whatever_runs(self):
        self.refused("up", "--pack", "nope", "--data", self.system.data,
                     says=[r"there is no pack 'nope'\. In .* there is .*public-safety"], exit_code=3)

    def test_two_starts_at_once(self):
        """One wins; the other says so and touches nothing of the winner's."""
        data = self.folder / "both"
        ports = [option for flag in ("--gateway", "--registry", "--kafka")
                 for option in (flag, f"127.0.0.1:{free_port()}")]
        environment = dict(self.system.environment, XDG_CONFIG_HOME=str(self.folder / "both-config"))
        starts = [subprocess.Popen([BIN / "tocsin", "up", "--detach", "--no-demo", "--data", data, *ports],
                                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                  for _ in range(2)]
        try:
            said = [start.communicate(timeout=120)[1] for start in starts]
            told = dict(zip((start.returncode for start in starts), said))
            self.assertEqual(sorted(told), [0, 7], told)
            self.assertIn(f"already runs on {data}", told[7])
            self.assertEqual([log.name for log in (data / "logs").glob("supervisor.log*")], ["supervisor.log"])
        finally:
            subprocess.run([BIN / "tocsin", "down", "--data", data], env=environment, check=True,
                           capture_output=True, timeout=60)

    def test_publishing_while_kafka_stands_still(self):
        broker = self.system.processes()["kafka"]
        os.kill(broker, signal.SIGSTOP)
        try:
            said = self.refused(*self.publish(GOOD, "--timeout", "6s"), exit_code=5,
                                says=["Trying again", "not acknowledged within 6 s: Kafka did not confirm", "--id"])
            self.assertNotIn("does not answer", said)
        finally:
            os.kill(broker, signal.SIGCONT)

    def test_kafka_lost_and_back(self):
        broker = self.system.processes()["kafka"]
        os.kill(broker, signal.SIGSTOP)
        try:
            path = self.folder / "late.csv"
            path.write_text("lat,lng,title,time,township,address\n3,4,EMS: FALL,2018-01-01 00:00,T,A\n")
            replay = self.system.start("replay", "--pack", "public-safety", "--csv", path, "--speed", "max",
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            wait_for("ingest to say that it is not ready",
                     lambda: self.system.json("status")["processes"] and any(
                         process["name"] == "ingest" and not process["ready"]
                         for process in self.system.json("status")["processes"]), 60)
        finally:
            os.kill(broker, signal.SIGCONT)
        output, _ = replay.communicate(timeout=120)
        self.assertEqual(replay.returncode, 0, output)
        wait_for("ingest to be ready again", lambda: all(
            process["ready"] for process in self.system.json("status")["processes"]), 60)
        log = (self.system.data / "logs" / "ingest.log").read_text()
        self.assertRegex(log, re.compile("kafka", re.IGNORECASE))


if __name__ == "__main__":
    unittest.main(verbosity=2)
