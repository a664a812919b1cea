"""`tocsin schema` through the gateway against the running registry: push, check, watch, and the way to another registry."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
import urllib.request

from system import BIN, System, free_port, wait_for

TYPES = 'syntax = "proto3";\npackage shop;\nmessage Money {\n  int64 cents = 1;\n}\n'
ORDER = ('syntax = "proto3";\npackage shop;\nimport "shop/types.proto";\n'
         'message Order {\n  string id = 1;\n  Money total = 2;\n}\n')


class SchemasTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.system = System().__enter__()
        self.addCleanup(lambda: self.system.__exit__(None, None, None))
        self.write("shop/types.proto", TYPES)
        self.order = self.write("shop/order.proto", ORDER)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def schema(self, *arguments, exit_code=0):
        result = self.system.run("schema", *arguments, check=False)
        self.assertEqual(result.returncode, exit_code, result.stdout + result.stderr)
        return result

    def rest(self, path):
        request = urllib.request.Request(f"http://{self.system.registry}{path}",
                                         headers={"authorization": f"Bearer {self.system.token('schema.read')}"})
        return json.loads(urllib.request.urlopen(request, timeout=10).read())

    def push_order(self, exit_code=0):
        return self.schema("push", self.order, "--root", self.folder, "--subject", "orders-value", exit_code=exit_code)

    def test_what_check_says_is_what_push_gets(self):
        self.push_order()
        self.assertEqual(self.rest("/subjects/orders-value/versions/1")["references"],
                         [{"name": "shop/types.proto", "subject": "shop/types.proto", "version": 1}])
        shown = self.schema("show", "orders-value/1")
        self.assertEqual(shown.stdout, ORDER)
        self.assertIn("registered 20", shown.stderr)
        check = ("check", self.order, "--root", self.folder, "--subject", "orders-value")
        self.write("shop/order.proto", ORDER.replace("total = 2;", "total = 2;\n  bool gift = 3;"))
        self.schema(*check)
        self.push_order()
        self.write("shop/order.proto", ORDER.replace("string id = 1", "int32 id = 1"))
        broken = self.schema(*check, exit_code=1)
        self.assertIn("shop/order.proto breaks BACKWARD against orders-value version 2", broken.stdout)
        self.assertIn("      5 |   int32 id = 1;\n        |   ^", broken.stdout)
        refused = self.push_order(exit_code=7)
        finding = json.loads(self.schema(*check, "-o", "json", exit_code=1).stdout)[0]["findings"][0]
        self.assertIn(finding["kind"], refused.stderr)
        self.assertIn(finding["path"], refused.stderr)
        self.assertIn("FIELD_ADDED at #/Order/gift", self.schema("diff", "orders-value").stdout)

    def test_a_watch_goes_on_when_the_registry_is_killed(self):
        changes = self.folder / "changes"
        with changes.open("w") as out, (self.folder / "said").open("w") as said:
            watch = self.system.start("schema", "watch", "orders-", "-o", "jsonl", stdout=out, stderr=said)
        self.addCleanup(watch.kill)
        seen = lambda: [json.loads(line)["version"] for line in changes.read_text().splitlines()]  # noqa: E731
        self.push_order()
        wait_for("the first version", lambda: seen() == [1], 20)
        self.system.kill("schema-registry")
        wait_for("the registry to answer again",
                 lambda: self.system.run("schema", "ls", check=False).returncode == 0, 30)
        self.write("shop/order.proto", ORDER.replace("total = 2;", "total = 2;\n  bool gift = 3;"))
        self.push_order()
        wait_for("the second version, and no other twice", lambda: seen() == [1, 2], 30)
        watch.send_signal(signal.SIGINT)
        self.assertEqual(watch.wait(timeout=10), 130)
        self.assertIn("tocsin schema watch --after", (self.folder / "said").read_text())

    def test_another_registry_reads_what_export_wrote(self):
        self.push_order()
        self.write("shop/order.proto", ORDER.replace("total = 2;", "total = 2;\n  bool gift = 3;"))
        self.push_order()
        self.assertNotIn('"seq"', self.schema("export").stdout)
        self.schema("export", "--kafka", self.system.kafka, "--topic", "moved")
        again = self.schema("export", "--kafka", self.system.kafka, "--topic", "moved", exit_code=7)
        self.assertIn("the topic moved exists", again.stderr)
        mine, theirs = self.system.registry, f"127.0.0.1:{free_port()}"
        config = next((self.system.data / "config").glob("schema-registry*"))
        moved = self.write(f"moved/{config.name}", self.moved(config.read_text(), mine, theirs))
        with open(os.devnull, "w") as nothing:
            other = subprocess.Popen([BIN / "tocsin-schema-registry", "--config", moved], stdout=nothing, stderr=nothing)
        self.addCleanup(lambda: (other.kill(), other.wait()))
        before = {path: self.rest(path) for path in ("/subjects", "/schemas/ids/1", "/subjects/orders-value/versions/2")}
        self.system.registry = theirs

        def loaded():
            try:
                return self.rest("/subjects") == before["/subjects"]
            except OSError:
                return False
        wait_for("the other registry to have all subjects", loaded, 30)
        for path, answer in before.items():
            after = self.rest(path)
            for each in (answer, after):
                if isinstance(each, dict):
                    each.pop("ts", None)  # the record's
                    each.pop("registeredBy", None)  # Confluent's records do not say who
            self.assertEqual(after, answer, path)

    @staticmethod
    def moved(text, rest, to):
        """The configuration with another topic and REST port, and free ports for the rest."""
        text = re.sub(r'(?m)^(  (?:admin-)?listen: )"[^"]*"', r'\g<1>"127.0.0.1:0"', text)
        return text.replace(rest, to) + "topic: moved\naudit-topic: moved.audit\n"


if __name__ == "__main__":
    unittest.main()
