"""The topic `_schemas`: what another registry left in it, what is no record at all, and what compaction does to it."""

import json
import unittest

from clients import Client
from running import OWN_SUBJECT, Registries, wait_for

TOPIC = "_schemas"
ADDRESS = 'syntax = "proto3";\npackage dump;\n\nmessage Address {\n  string city = 1;\n}\n'
ORDER = ('syntax = "proto3";\npackage dump;\n\nimport "address.proto";\n\nmessage Order {\n  Address to = 1;\n'
         '  int64 total = 2;\n}\n')
AVRO = '{"type":"record","name":"Payment","fields":[{"name":"amount","type":"long"}]}'
MD5 = "kHrzFeSYsCMiBHvRTmCyCg=="


def plain(number):
    return f'syntax = "proto3";\npackage dump;\n\nmessage M{number} {{\n  int32 a = 1;\n}}\n'


def key(keytype, magic=0, **fields):
    return json.dumps({"keytype": keytype, **fields, "magic": magic}, separators=(",", ":"))


def schema_key(subject, version):
    return key("SCHEMA", 1, subject=subject, version=version)


def schema_value(subject, version, number, text, kind="PROTOBUF", deleted=False, **more):
    value = {"subject": subject, "version": version, "id": number, "md5": MD5}
    if kind != "AVRO":
        value["schemaType"] = kind
    return json.dumps({**value, **more, "schema": text, "deleted": deleted}, separators=(",", ":"))


def stored(subject, version, number, text, **more):
    return schema_key(subject, version), schema_value(subject, version, number, text, **more)


# (key, value), None for none: in the shapes that Confluent's registry writes.
CONFLUENT = [
    (key("NOOP"), None),
    (key("CONFIG", subject=None), '{"compatibilityLevel":"FORWARD"}'),
    stored("customers-value", 1, 1, plain(1)),
    stored("address.proto", 1, 2, ADDRESS),
    stored("orders-value", 1, 3, ORDER, references=[{"name": "address.proto", "subject": "address.proto",
                                                     "version": 1}]),
    stored("also-address", 1, 2, ADDRESS),
    stored("payments-value", 1, 4, AVRO, kind="AVRO"),
    stored("reports-value", 1, 5, '{"type":"object"}', kind="JSON"),
    # A subject that was deleted.
    stored("old-value", 1, 6, plain(6)),
    stored("old-value", 2, 7, plain(7)),
    (key("DELETE_SUBJECT", subject="old-value"), '{"subject":"old-value","version":2}'),
    # A version that was deleted for good, and one that was deleted.
    stored("gone-value", 1, 8, plain(8)),
    stored("gone-value", 1, 8, plain(8), deleted=True),
    (schema_key("gone-value", 1), None),
    stored("soft-value", 1, 9, plain(9)),
    stored("soft-value", 1, 9, plain(9), deleted=True),
    stored("soft-value", 2, 10, plain(10)),
    # A subject that was deleted, and cleared of what was deleted.
    stored("cleared-value", 1, 11, plain(11)),
    (key("DELETE_SUBJECT", subject="cleared-value"), '{"subject":"cleared-value","version":1}'),
    (key("CLEAR_SUBJECT", subject="cleared-value"), '{"subject":"cleared-value"}'),
    (key("CONFIG", subject="customers-value"), '{"subject":"customers-value","compatibilityLevel":"FULL"}'),
    (key("MODE", subject="orders-value"), '{"subject":"orders-value","mode":"READONLY"}'),
    stored(":.eu:orders-value", 1, 1, plain(12)),
    stored("described-value", 1, 12, plain(13), metadata={"properties": {"owner": "sales"}},
           ruleSet={"domainRules": [{"name": "r", "kind": "CONDITION", "mode": "WRITE", "type": "CEL",
                                     "expr": "true", "disabled": False}]}),
]
# What nobody can read: each is counted, and none keeps the others from being read.
MALFORMED = [
    ("this is not JSON", "{}"),
    ('{"keytype":"SCHEMA"', "{}"),
    ('{"keytype":"SCHEMA","subject":"bad","version":"one","magic":1}', "{}"),
    ('[1,2,3]', "{}"),
    (schema_key("bad", 1), "no JSON"),
    (schema_key("bad", 2), '{"subject":"bad","version":2,"schema":"x"}'),
    (schema_key("bad", 3), schema_value("bad", 3, "four", plain(1))),
    (schema_key("bad", 4), schema_value("bad", 4, -7, plain(1))),
    (schema_key("bad", 5), "[" * 5000),
    ("\ud800".encode("utf-8", "surrogatepass"), "{}"),
    (b"\x00\xff\xfe", b"\x00\xff"),
]
# Records that are read and mean nothing here.
IGNORED = [
    ('{"keytype":"FROM_THE_FUTURE","magic":9}', '{"anything":true}'),
    # Lost its race: it lies where its writer did not expect it.
    ('{"keytype":"SCHEMA","subject":"lost","version":1,"magic":1,"seq":99999,"node":1,"attempt":1}',
     schema_value("lost", 1, 99, plain(99))),
]


def record(pair):
    def text(part):
        return part if part is None else (part if isinstance(part, bytes) else part.encode()).hex()
    return {"key": text(pair[0]), "value": text(pair[1])}


def subjects_of_others(subjects):
    return sorted(subject for subject in subjects if subject != OWN_SUBJECT)


class TopicTest(unittest.TestCase):
    def setUp(self):
        self.system = self.enterContext(Registries(1, start=False))
        self.kafka = self.enterContext(Client("python", self.system, "none"))

    def make_topic(self, records, **config):
        self.kafka("create_topic", topic=TOPIC, config={"cleanup.policy": "compact", **config})
        if records:
            self.kafka("produce", topic=TOPIC, records=[record(pair) for pair in records])

    def restart(self):
        for replica in self.system.replicas:
            replica.stop()
            replica.start()
        for replica in self.system.replicas:
            replica.await_ready()

    def check_the_dump(self, connection):
        def get(path):
            answer = connection.get(path)
            self.assertEqual(answer.status, 200, f"{path}: {answer}")
            return answer.json
        self.assertEqual(subjects_of_others(get("/subjects")),
                         ["address.proto", "also-address", "customers-value", "described-value", "orders-value",
                          "payments-value", "reports-value", "soft-value"])
        self.assertIn("old-value", get("/subjects?deleted=true"))
        self.assertNotIn("cleared-value", get("/subjects?deleted=true"))
        self.assertEqual(get("/config"), {"compatibilityLevel": "FORWARD"})
        self.assertEqual(get("/config/customers-value")["compatibilityLevel"], "FULL")
        self.assertEqual(get("/mode/orders-value"), {"mode": "READONLY"})
        order = get("/subjects/orders-value/versions/latest")
        self.assertEqual((order["id"], order["schema"], order["schemaType"]), (3, ORDER, "PROTOBUF"))
        self.assertEqual(order["references"], [{"name": "address.proto", "subject": "address.proto", "version": 1}])
        self.assertEqual(get("/subjects/also-address/versions/1")["id"], 2)
        payment = get("/schemas/ids/4")
        self.assertEqual(payment["schema"], AVRO)
        self.assertNotIn("schemaType", payment)
        self.assertEqual(get("/schemas/ids/5")["schemaType"], "JSON")
        self.assertEqual(get("/subjects/soft-value/versions"), [2])
        self.assertEqual(get("/subjects/soft-value/versions?deleted=true"), [1, 2])
        self.assertEqual(get("/schemas/ids/9")["schema"], plain(9))
        self.assertEqual(connection.get("/schemas/ids/8").status, 404)
        self.assertEqual(connection.get("/subjects/lost/versions").status, 404)
        self.assertEqual(connection.get("/subjects/bad/versions").status, 404)
        self.assertEqual(get("/subjects/:.eu:orders-value/versions/1")["schema"], plain(12))
        described = get("/subjects/described-value/versions/1")
        self.assertEqual(described["metadata"], {"properties": {"owner": "sales"}})
        self.assertEqual(described["ruleSet"]["domainRules"][0]["name"], "r")

    def test_a_topic_of_another_registry_loads_and_grows(self):
        mixed = [*CONFLUENT, *IGNORED]
        for number, pair in enumerate(MALFORMED):
            mixed.insert(2 * number + 1, pair)
        self.make_topic(mixed)
        self.system.start_replicas()
        with self.system.connect() as connection:
            self.check_the_dump(connection)
            self.assertEqual(self.system.replicas[0].metric("tocsin_schema_registry_malformed_records_total"),
                             len(MALFORMED))
            # Known content keeps its id; anything new gets one that nobody ever had.
            self.assertEqual(connection.register("customers-value", plain(1)).json["id"], 1)
            self.assertEqual(connection.register("third-address", ADDRESS).json["id"], 2)
            given = connection.register("fresh-value", plain(50)).json["id"]
            self.assertGreater(given, 12)
            self.assertEqual(connection.register("orders-value", plain(51)).json["error_code"], 42205)
        self.restart()
        with self.system.connect() as connection:
            self.assertEqual(connection.get(f"/schemas/ids/{given}").json["schema"], plain(50))
            for subject in ("third-address", "fresh-value"):
                self.assertEqual(connection.get(f"/subjects/{subject}/versions").json, [1])

    def test_ids_and_versions_are_not_given_again_after_compaction(self):
        quick = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0",
                 "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100"}
        self.make_topic([], **quick)
        self.system.start_replicas()
        gone = {}
        with self.system.connect() as connection:
            for number in range(10):
                gone[number] = connection.register("kept-value" if number < 5 else "doomed-value",
                                                   f'syntax = "proto3"; package c; message M {{ int32 f{number} = '
                                                   f'{number + 1}; }}').json["id"]
            self.assertEqual(connection.ask("DELETE", "/subjects/kept-value/versions/5").status, 200)
            self.assertEqual(connection.ask("DELETE", "/subjects/kept-value/versions/5?permanent=true").status, 200)
            self.assertEqual(connection.ask("DELETE", "/subjects/doomed-value").status, 200)
            self.assertEqual(connection.ask("DELETE", "/subjects/doomed-value?permanent=true").status, 200)
        self.compact(gone=b"int32 f9")
        self.restart()
        with self.system.connect() as connection:
            self.assertEqual(subjects_of_others(connection.get("/subjects?deleted=true").json), ["kept-value"])
            self.assertEqual(connection.get("/subjects/kept-value/versions?deleted=true").json, [1, 2, 3, 4])
            new = connection.register("kept-value", 'syntax = "proto3"; package c; message M { int32 g = 30; }')
            self.assertEqual(new.status, 200, new)
            self.assertGreater(new.json["id"], max(gone.values()))
            self.assertGreater(connection.get("/subjects/kept-value/versions/latest").json["version"], 5)
            again = connection.register("doomed-value", 'syntax = "proto3"; package c; message N { int32 g = 1; }')
            self.assertGreater(again.json["id"], new.json["id"])
            self.assertGreater(connection.get("/subjects/doomed-value/versions/latest").json["version"], 5)

    def compact(self, gone):
        """Writes a key again and again until compaction has taken all of it but the last, and the text `gone` too: the
        registry gives the records of what was deleted for good their tombstones after half a minute."""
        def written():
            self.kafka("produce", topic=TOPIC, records=[record((key("NOOP"), None)),
                                                        record((key("NOOP"), '{"keep":true}'))])
            records = self.kafka("consume", topic=TOPIC)["records"]
            noop = key("NOOP").encode().hex()
            # The active segment is never compacted; it holds the last few.
            noops = sum(one["key"] == noop for one in records)
            self.written += 2
            left = any(gone in bytes.fromhex(one["value"] or "") for one in records)
            return self.written > 20 and noops < self.written / 2 and not left
        self.written = 0
        wait_for("compaction of the topic", written, 150)

    def test_a_topic_that_is_not_compacted_is_refused(self):
        self.kafka("create_topic", topic=TOPIC, config={"cleanup.policy": "delete"})
        replica = self.system.add_replica(0)
        self.assertNotEqual(replica.process.wait(30), 0)
        self.assertIn("cleanup.policy", replica.end_of_log())


if __name__ == "__main__":
    unittest.main()
