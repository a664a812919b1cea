"""Real clients against the running registry and a real Kafka."""

import os
import unittest

import clients
from clients import Client, Refused, Unsupported
from running import Registries

ORDER = {
    "id": "o-1",
    "customer": {"name": "Ada", "number": "9007199254740993", "mails": ["a@example.org", "b@example.org"],
                 "tags": {"gift": 1, "rush": 2}},
    "address": {"street": "1 Main St", "city": "Turku"},
    "placed": "2026-01-02T03:04:05.600Z",
    "lines": [{"item": "tea", "quantity": 3, "notes": [{"text": "green"}]}, {"item": "cup", "quantity": -1}],
    "state": "STATE_SENT",
    "invoice": "17",
    "discount": 0.25,
}
# What every serializer must be able to say: type, its message index as it stands in the prefix, and a value.
MESSAGES = {
    "compat.v1.Customer": ("00", ORDER["customer"]),
    "compat.v1.Order": ("0202", ORDER),
    "compat.v1.Order.Line": ("040200", ORDER["lines"][0]),
    "compat.v1.Order.Line.Note": ("06020000", {"text": "green"}),
}
FIRST = 'syntax = "proto3";\npackage p;\n\nmessage M {\n  int32 a = 1;\n  string b = 2;\n}\n'
SECOND = FIRST.replace("  string b = 2;\n", "  string b = 2;\n  bool c = 3;\n")
BREAKING = FIRST.replace("int32 a", "string a")


class ClientsTest(unittest.TestCase):
    """One registry and one Kafka for all of it; every test has subjects of its own."""

    @classmethod
    def setUpClass(cls):
        missing = [name for name in clients.PROGRAMS if not clients.installed(name)]
        if missing and not os.environ.get("TOCSIN_COMPAT_SOME"):
            raise AssertionError(f"not installed: {', '.join(missing)}. Run ./dev test --label compat, or set "
                                 f"TOCSIN_COMPAT_SOME=1 to go on with the others.")
        cls.system = cls.enterClassContext(Registries())
        cls.token = cls.system.credentials.token("schema.admin", name="clients")
        cls.clients = {name: cls.start(name) for name in clients.PROGRAMS if name not in missing}

    @classmethod
    def start(cls, name, token=None):
        return cls.enterClassContext(Client(name, cls.system, token or cls.token))

    def for_each(self, check):
        """check(short name, client) for every client that has what it asks for; at least one must."""
        ran = 0
        for name, client in self.clients.items():
            with self.subTest(client=name):
                try:
                    check(name.replace("-", "_"), client)
                    ran += 1
                except Unsupported:
                    continue
        self.assertGreater(ran, 0)

    def refused(self, status, code, call, *arguments, **named):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **named)
        answer = caught.exception.answer
        if answer.get("status") is not None:  # some clients keep the message alone
            self.assertEqual(answer["status"], status, answer)
        if answer.get("code") is not None:
            self.assertIn(answer["code"], code if isinstance(code, tuple) else (code,), answer)
        return answer["error"]

    # --- schemas ---------------------------------------------------------------------------------------------------
    def test_register_and_find_again(self):
        def check(name, client):
            subject = f"find/{name}-value"
            one = client("register", subject=subject, schema=FIRST)["id"]
            self.assertEqual(client("register", subject=subject, schema=FIRST)["id"], one)
            two = client("register", subject=subject, schema=SECOND)["id"]
            self.assertNotEqual(one, two)
            self.assertEqual(client("latest", subject=subject)["id"], two)
        self.for_each(check)

    def test_the_reads(self):
        def check(name, client):
            subject = f"reads-{name}-value"
            first = client("register", subject=subject, schema=FIRST)["id"]
            client("register", subject=subject, schema=SECOND)
            self.assertEqual(client("versions", subject=subject)["versions"], [1, 2])
            self.assertEqual(client("version", subject=subject, version=1)["id"], first)
            self.assertEqual(client("latest", subject=subject)["version"], 2)
            self.assertIn("message M", client("by_id", id=first)["schema"])
            self.assertIn(subject, client("subjects")["subjects"])
        self.for_each(check)

    def test_lookup(self):
        def check(name, client):
            subject = f"lookup-{name}-value"
            self.refused(404, 40401, client, "lookup", subject=subject, schema=FIRST)
            registered = client("register", subject=subject, schema=FIRST)["id"]
            self.assertEqual(client("lookup", subject=subject, schema=FIRST)["id"], registered)
            self.refused(404, 40403, client, "lookup", subject=subject, schema=SECOND)
        self.for_each(check)

    def test_the_full_answer_of_a_registration(self):
        def check(name, client):
            subject = f"full-{name}-value"
            full = client("register_full", subject=subject, schema=FIRST)
            self.assertEqual((full["subject"], full["version"]), (subject, 1))
            self.assertEqual(client("by_guid", guid=full["guid"])["schema"], client("by_id", id=full["id"])["schema"])
        self.for_each(check)

    def test_an_incompatible_change_is_refused(self):
        def check(name, client):
            subject = f"break-{name}-value"
            client("register", subject=subject, schema=FIRST)
            message = self.refused(409, (409, 40901), client, "register", subject=subject, schema=BREAKING)
            self.assertIn("FIELD_SCALAR_KIND_CHANGED", message)
        self.for_each(check)

    def test_a_check_without_registering(self):
        def check(name, client):
            subject = f"check-{name}-value"
            client("register", subject=subject, schema=FIRST)
            self.assertIs(client("compatible", subject=subject, schema=SECOND)["compatible"], True)
            self.assertIs(client("compatible", subject=subject, schema=BREAKING)["compatible"], False)
        self.for_each(check)

    def test_what_is_no_schema_is_refused(self):
        def check(name, client):
            message = self.refused(422, 42201, client, "register", subject=f"bad-{name}",
                                   schema=FIRST.replace("int32", "Missing"))
            self.assertIn("Missing", message)
        self.for_each(check)

    def test_avro_is_refused_in_words(self):
        def check(name, client):
            self.refused(422, 42201, client, "register", subject=f"avro-{name}", schema='"string"', schema_type="AVRO")
        self.for_each(check)

    def test_references(self):
        def check(name, client):
            base, user = f"ref-base-{name}", f"ref-user-{name}"
            client("register", subject=base, schema='syntax = "proto3"; package r; message Base { int32 a = 1; }')
            text = 'syntax = "proto3"; package r; import "base.proto"; message User { Base base = 1; }'
            reference = [{"name": "base.proto", "subject": base, "version": 1}]
            self.refused(422, 42201, client, "register", subject=user, schema=text)
            used = client("register", subject=user, schema=text, references=reference)["id"]
            self.assertEqual(client("latest", subject=user)["references"], reference)
            self.refused(422, 42206, client, "delete_version", subject=base, version=1)
            self.assertEqual(client("referenced_by", subject=base, version=1)["ids"], [used])
        self.for_each(check)

    def test_normalize(self):
        first = 'syntax = "proto3"; package n; message M { int32 a = 1; string b = 2; }'
        turned = 'syntax = "proto3"; package n; message M { string b = 2; int32 a = 1; }'

        def check(name, client):
            subject = f"normalize-{name}"
            registered = client("register", subject=subject, schema=first, normalize=True)["id"]
            self.assertEqual(client("register", subject=subject, schema=turned, normalize=True)["id"], registered)
            self.assertEqual(client("lookup", subject=subject, schema=turned, normalize=True)["id"], registered)
        self.for_each(check)

    # --- subjects --------------------------------------------------------------------------------------------------
    def test_deletes(self):
        def check(name, client):
            subject = f"delete-{name}"
            registered = client("register", subject=subject, schema=FIRST)["id"]
            client("register", subject=subject, schema=SECOND)
            self.refused(404, 40407, client, "delete_version", subject=subject, version=1, permanent=True)
            self.assertEqual(client("delete_version", subject=subject, version=1)["version"], 1)
            self.assertEqual(client("versions", subject=subject)["versions"], [2])
            self.assertEqual(client("delete_version", subject=subject, version=1, permanent=True)["version"], 1)
            self.refused(404, 40405, client, "delete_subject", subject=subject, permanent=True)
            self.assertEqual(client("delete_subject", subject=subject)["versions"], [2])
            self.refused(404, 40401, client, "versions", subject=subject)
            self.assertEqual(client("delete_subject", subject=subject, permanent=True)["versions"], [2])
            again = client("register", subject=f"{subject}-other", schema=FIRST.replace(" p;", f" p_{name};"))["id"]
            self.assertGreater(again, registered)
        self.for_each(check)

    def test_config(self):
        def check(name, client):
            subject = f"config-{name}"
            client("register", subject=subject, schema=FIRST)
            self.refused(404, 40408, client, "get_config", subject=subject)
            client("set_config", subject=subject, level="NONE")
            self.assertEqual(client("get_config", subject=subject)["level"], "NONE")
            client("register", subject=subject, schema=BREAKING)
            client("set_config", subject=subject, level="FULL_TRANSITIVE")
            self.refused(409, (409, 40901), client, "register", subject=subject, schema=SECOND)
            deleted = client("delete_config", subject=subject)
            self.refused(404, 40408, client, "get_config", subject=subject)
            self.assertEqual(deleted["level"], "FULL_TRANSITIVE")
        self.for_each(check)

    def test_mode(self):
        def check(name, client):
            subject = f"mode-{name}"
            client("register", subject=subject, schema=FIRST)
            client("set_mode", subject=subject, mode="READONLY")
            self.assertEqual(client("get_mode", subject=subject)["mode"], "READONLY")
            self.refused(422, 42205, client, "register", subject=subject, schema=SECOND)
            client("delete_mode", subject=subject)
            client("register", subject=subject, schema=SECOND)
        self.for_each(check)

    def test_contexts(self):
        def check(name, client):
            context, subject = f".{name}", f":.{name}:orders-value"
            self.assertEqual(client("register", subject=subject, schema=FIRST)["id"], 1)  # ids are a context's own
            self.assertEqual(client("latest", subject=subject)["subject"], subject)
            self.assertEqual(client("by_id", id=1, subject=subject)["schema"],
                             client("latest", subject=subject)["schema"])
            self.assertIn(context, client("contexts")["contexts"])
        self.for_each(check)

    # --- bytes -----------------------------------------------------------------------------------------------------
    def encode(self, client, topic, kind, message, **options):
        return client("encode", topic=topic, type=kind, message=message, **options)

    def through_kafka(self, topic, records):
        """The records as a consumer gets them."""
        carrier = self.clients["python"]
        carrier("create_topic", topic=topic)
        carrier("produce", topic=topic, records=records)
        return carrier("consume", topic=topic)["records"]

    def read_by_all(self, schema_id_in, normalize=False):
        for kind, (index, message) in MESSAGES.items():
            writers, records = [], []
            topic = f"bytes-{schema_id_in}-{int(normalize)}-{kind.lower()}"
            for name, client in self.clients.items():
                try:
                    encoded = self.encode(client, f"{topic}-{name}", kind, message, schema_id_in=schema_id_in,
                                          normalize=normalize)
                except Unsupported:
                    continue
                except Refused as error:
                    with self.subTest(type=kind, writer=name):
                        self.fail(str(error))
                    continue
                if schema_id_in == "prefix":
                    with self.subTest(type=kind, writer=name):
                        self.assertEqual(encoded["value"][:2], "00")
                        self.assertEqual(encoded["value"][10:10 + len(index)], index)
                else:
                    with self.subTest(type=kind, writer=name):
                        header = encoded["headers"]["__value_schema_id"]
                        self.assertEqual((header[:2], header[34:]), ("01", index))
                writers.append(name)
                records.append({"value": encoded["value"], "headers": encoded.get("headers", {})})
            for writer, record in zip(writers, self.through_kafka(topic, records)):
                for reader, client in self.clients.items():
                    with self.subTest(type=kind, writer=writer, reader=reader):
                        try:
                            read = client("decode", topic=f"{topic}-{writer}", type=kind, value=record["value"],
                                          headers=record["headers"])
                        except Unsupported:
                            continue
                        self.assertEqual(read["message"], message)

    def test_bytes_with_the_id_in_front_are_read_by_all(self):
        self.read_by_all("prefix")

    def test_bytes_with_the_guid_in_the_header_are_read_by_all(self):
        self.read_by_all("header")

    def test_bytes_under_a_normalized_schema_are_read_by_all(self):
        self.read_by_all("prefix", normalize=True)

    def test_without_auto_register_only_what_is_registered_is_written(self):
        def check(name, client):
            topic, kind = f"no-auto-{name}", "compat.v1.Customer"
            message = MESSAGES[kind][1]
            answer = client.ask("encode", topic=topic, type=kind, message=message, auto_register=False)
            self.assertIsNotNone(answer.get("error"), answer)
            self.assertRegex(str(answer), "404")
            registered = self.encode(client, topic, kind, message)["value"]
            client = self.start(client.name)  # nothing in its cache
            again = self.encode(client, topic, kind, message, auto_register=False)["value"]
            self.assertEqual(again[:10], registered[:10])
        self.for_each(check)

    def test_the_latest_schema_is_used_where_it_is_asked_for(self):
        def check(name, client):
            topic, kind = f"latest-{name}", "compat.v1.Customer"
            message = MESSAGES[kind][1]
            self.encode(client, topic, kind, message)
            text = client("latest", subject=f"{topic}-value")
            newer = text["schema"].replace("message Customer {", "message Customer {\n  bool vip = 77;", 1)
            self.assertNotEqual(newer, text["schema"])
            latest = client("register", subject=f"{topic}-value", schema=newer,
                            references=text["references"])["id"]
            client = self.start(client.name)
            encoded = self.encode(client, topic, kind, message, auto_register=False, use_latest=True)
            self.assertEqual(int(encoded["value"][2:10], 16), latest)
        self.for_each(check)

    # --- who may what ----------------------------------------------------------------------------------------------
    def test_a_reader_may_not_write(self):
        reader = self.system.credentials.token("schema.read", name="reader")

        def check(name, client):
            subject = f"rights-{name}"
            client("register", subject=subject, schema=FIRST)
            client = self.start(client.name, reader)
            self.assertIn(subject, client("subjects")["subjects"])
            self.refused(403, (403, 40301), client, "register", subject=subject, schema=SECOND)
        self.for_each(check)


if __name__ == "__main__":
    unittest.main()
