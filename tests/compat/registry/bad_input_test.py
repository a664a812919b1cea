"""What no client should send: a clear answer in time, and the registry goes on."""

import base64
import json
import socket
import time
import unittest

from running import JSON_TYPE, Connection, Registries, quoted

GOOD = 'syntax = "proto3"; package g; message M { int32 a = 1; }'
# An answer to any of these takes less.
SECONDS = 10


def body(schema, **more):
    return {"schemaType": "PROTOBUF", "schema": schema, **more}


def fields(count):
    return 'syntax = "proto3"; message M {' + "".join(f"int32 f{n} = {n + 1};" for n in range(count)) + "}"


def nested(depth):
    return 'syntax = "proto3"; ' + "message M {" * depth + "}" * depth


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.system = cls.enterClassContext(Registries(1))
        with cls.system.connect() as connection:
            assert connection.register("good", GOOD).status == 200

    def setUp(self):
        self.connection = self.enterContext(self.system.connect())

    def tearDown(self):
        with self.system.connect() as connection:
            self.assertEqual(connection.get("/subjects/good/versions").json, [1], "it goes on")

    def refused(self, status, codes, method, path, content=None, headers=None, words=()):
        began = time.monotonic()
        answer = self.connection.ask(method, path, content, headers)
        self.assertLess(time.monotonic() - began, SECONDS)
        self.assertEqual(answer.status, status, answer)
        error = answer.json
        self.assertIn(error["error_code"], codes if isinstance(codes, tuple) else (codes,), answer)
        self.assertGreater(len(error["message"]), 10, answer)
        for word in words:
            self.assertIn(word, error["message"])
        return error["message"]

    def register(self, status, codes, schema, words=(), **more):
        return self.refused(status, codes, "POST", "/subjects/bad/versions", body(schema, **more), words=words)

    def test_a_body_that_is_not_json(self):
        for content in (b"{", b"", b"schema", b'{"schema": }', b"\xff\xfe", b"[]", b'"text"', b"null", b"1e999999",
                        b'{"schema":"\x00"}', b'{"schema": 7}', b'{"schemaType":"PROTOBUF"}',
                        b'{"schema":"x","references":7}', b'{"schema":"x","references":[{"name":1}]}'):
            with self.subTest(content=content):
                began = time.monotonic()
                answer = self.connection.ask("POST", "/subjects/bad/versions", content)
                self.assertLess(time.monotonic() - began, SECONDS)
                self.assertIn(answer.status, (400, 422), answer)
                self.assertIn("message", answer.json)

    def test_json_that_nests_without_end(self):
        deep = b'{"schemaType":"PROTOBUF","schema":"x","metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001
        answer = self.connection.ask("POST", "/subjects/bad/versions", deep)
        self.assertIn(answer.status, (400, 422), answer)

    def test_ten_megabytes(self):
        # The registry need not read all of it, so its answer may come while we still send.
        began = time.monotonic()
        try:
            answer = self.connection.ask("POST", "/subjects/bad/versions", body(GOOD + "//" + "x" * 10_000_000))
        except (BrokenPipeError, ConnectionResetError):
            self.fail("the connection was cut before the answer could be read")
        self.assertLess(time.monotonic() - began, SECONDS)
        self.assertIn(answer.status, (413, 422), answer)
        self.assertIn(answer.json["error_code"], (413, 42209), answer)

    def test_more_than_the_limit_of_text(self):
        self.register(422, 42209, GOOD + "//" + "x" * (1 << 20))

    def test_ten_thousand_fields(self):
        answer = self.connection.register("wide", fields(10_000))
        self.assertEqual(answer.status, 200, answer)
        self.register(422, (42201, 42209), fields(10_001))

    def test_messages_nested_a_thousand_deep(self):
        self.register(422, (42201, 42209), nested(1000))

    def test_types_and_values_nested_a_thousand_deep(self):
        for text in ('syntax = "proto3"; option java_package = ' + "{ a: " * 1000 + "1" + "}" * 1000 + ";",
                     'syntax = "proto2"; message M { optional group G = 1 ' + "{ optional group G = 1 " * 999 +
                     "{" + "}" * 1001):
            with self.subTest(text=text[:60]):
                self.register(422, (42201, 42209), text)

    def test_an_import_cycle(self):
        itself = 'syntax = "proto3"; import "self.proto"; message M { int32 a = 1; }'
        self.assertEqual(self.connection.register("cycle", GOOD).status, 200)
        self.register(422, 42201, itself, references=[{"name": "self.proto", "subject": "nowhere", "version": 1}])
        self.register(422, 42201, itself)
        # b imports a, a's next version imports b: the references are versions, so this is no cycle among them, but
        # the same file comes twice.
        a1 = 'syntax = "proto3"; package y; message A { int32 a = 1; }'
        b1 = 'syntax = "proto3"; package y; import "a.proto"; message B { A a = 1; }'
        a2 = 'syntax = "proto3"; package y; import "b.proto"; message A { int32 a = 1; B b = 2; }'
        self.assertEqual(self.connection.register("a.proto", a1).status, 200)
        self.assertEqual(self.connection.register(
            "b.proto", b1, references=[{"name": "a.proto", "subject": "a.proto", "version": 1}]).status, 200)
        self.refused(422, 42201, "POST", "/subjects/a.proto/versions",
                     body(a2, references=[{"name": "b.proto", "subject": "b.proto", "version": 1}]))

    def test_a_missing_import_is_named(self):
        self.register(422, 42201, 'syntax = "proto3"; import "not/there.proto"; message M {}',
                      words=("not/there.proto",))

    def test_subjects_with_a_slash(self):
        for subject in ("a/b", "a%2Fb", "a b", "a?b#c", "ü", "a:b", "..", "%", "a//b"):
            with self.subTest(subject=subject):
                self.assertEqual(self.connection.register(subject, GOOD).status, 200)
                found = self.connection.get(f"/subjects/{quoted(subject)}/versions/1")
                self.assertEqual(found.json["subject"], subject, found)
                self.assertIn(subject, self.connection.get("/subjects").json)
        # Without %2F it is another path.
        self.assertEqual(self.connection.get("/subjects/a/b/versions/1").status, 404)

    def test_subjects_that_are_none(self):
        for path in ("/subjects/%00/versions", "/subjects/a%0Ab/versions", "/subjects/%ff/versions",
                     f"/subjects/{'x' * 600}/versions", "/subjects/:.unfinished/versions"):
            with self.subTest(path=path[:40]):
                answer = self.connection.ask("POST", path, body(GOOD))
                self.assertIn(answer.status, (400, 422), answer)
                self.assertIn(answer.json["error_code"], (400, 42208), answer)

    def test_escapes_that_are_none(self):
        for path in ("/subjects/%zz/versions", "/subjects/%/versions", "/subjects/%2/versions"):
            with self.subTest(path=path):
                self.refused(400, 400, "GET", path, words=("the '%' at character 11 of the path",))
                self.refused(400, 400, "POST", path, body(GOOD))
        self.refused(400, 400, "GET", "/subjects?subjectPrefix=%zz", words=("of the query",))

    def test_names_that_are_missing(self):
        # Not the subject "versions".
        self.assertEqual(self.connection.register("versions", GOOD).status, 200)
        for method in ("GET", "POST", "DELETE"):
            for path in ("/subjects//versions", "/subjects//versions/1", "/subjects//", "//subjects/versions",
                         "/contexts//subjects/versions"):
                with self.subTest(method=method, path=path):
                    self.refused(404, 404, method, path, body(GOOD) if method == "POST" else None,
                                 words=("between two slashes is empty",))
        self.assertEqual(self.connection.get("/subjects/versions/versions/").json, [1])

    def raw(self, *pieces):
        """What a socket of one's own gets back for `pieces`, sent one after another; the server ends it."""
        host, port = self.system.replicas[0].address.split(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as own:
            for piece in pieces:
                own.sendall(piece)
                time.sleep(0.5)  # two looks of the server at its timeouts
            answer = b""
            while got := own.recv(65536):
                answer += got
            return answer.decode()

    def test_a_body_that_comes_after_its_head(self):
        content = json.dumps(body(GOOD)).encode()
        head = (f"POST /subjects/late/versions HTTP/1.1\r\nHost: a\r\nContent-Type: {JSON_TYPE}\r\n"
                f"Authorization: {self.connection.headers['Authorization']}\r\n"
                f"Connection: close\r\nContent-Length: {len(content)}\r\n")
        for more in ("", "Expect: 100-continue\r\n"):
            with self.subTest(more=more):
                answer = self.raw((head + more + "\r\n").encode(), content[:9], content[9:])
                self.assertIn("HTTP/1.1 200 OK\r\n", answer)
                self.assertEqual("100 Continue" in answer, more != "")

    def test_heads_that_are_too_large(self):
        for head, status in ((f"GET /{'x' * 20_000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
                             (f"GET / HTTP/1.1\r\nHost: a\r\nx: {'x' * 20_000}\r\n\r\n", 431)):
            with self.subTest(status=status):
                answer = self.raw(head.encode())
                self.assertTrue(answer.startswith(f"HTTP/1.1 {status} "), answer[:200])
                self.assertRegex(answer, r"\n.* shorter .*\n$")

    def test_versions_that_are_none(self):
        for version in ("0", "2147483648", "-2", "-2147483649", "99999999999999999999", "one", "1.5", "0x1", "+1",
                        "1e0", "%201"):
            with self.subTest(version=version):
                self.refused(422, 42202, "GET", f"/subjects/good/versions/{version}")
        self.assertEqual(self.connection.get("/subjects/good/versions/-1").json["version"], 1)
        self.assertEqual(self.connection.get("/subjects/good/versions/latest").json["version"], 1)
        self.refused(404, 40402, "GET", "/subjects/good/versions/2147483647")
        self.refused(404, 40401, "GET", "/subjects/nobody/versions/1")

    def test_ids_that_are_none(self):
        for number in ("2147483647", "999"):
            self.refused(404, 40403, "GET", f"/schemas/ids/{number}")
        for number in ("0", "-1", "2147483648", "99999999999999999999", "one", "1.5"):
            with self.subTest(number=number):
                answer = self.connection.get(f"/schemas/ids/{number}")
                self.assertIn(answer.status, (400, 404, 422), answer)
                self.assertIn("message", answer.json)

    def test_other_than_protobuf(self):
        for kind, text in (("AVRO", '"string"'), ("JSON", "{}"), ("XML", "<a/>")):
            with self.subTest(kind=kind):
                self.register(422, 42201, text, schemaType=kind)
        # No schemaType at all means AVRO to everybody.
        self.refused(422, 42201, "POST", "/subjects/bad/versions", {"schema": '"string"'})

    def test_serialized_schemas_that_are_none(self):
        for text in ("!!!!", base64.b64encode(b"\x0a\xff\xff\xff").decode(), ""):
            with self.subTest(text=text):
                self.register(422, 42201, text)

    def test_levels_and_modes_that_are_none(self):
        self.refused(422, 42203, "PUT", "/config/good", {"compatibility": "SIDEWAYS"})
        self.refused(422, 42204, "PUT", "/mode/good", {"mode": "SOMETIMES"})

    def test_methods_and_paths_that_are_none(self):
        self.assertEqual(self.connection.get("/nothing").status, 404)
        self.assertEqual(self.connection.ask("PATCH", "/subjects").status, 405)
        self.assertEqual(self.connection.ask("POST", "/subjects/bad/versions", b"<xml/>",
                                             {"Content-Type": "text/xml"}).status, 415)
        self.assertEqual(self.connection.ask("GET", "/subjects", headers={"Accept": "text/html"}).status, 406)

    def test_credentials_that_are_none(self):
        basic = base64.b64encode(b"anybody:no-token").decode()
        for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": f"Basic {basic}"},
                        {"Authorization": "Basic !!!"}, {"Authorization": "Negotiate abc"}):
            with self.subTest(headers=headers):
                with Connection(self.system.replicas[0].address, None) as connection:
                    answer = connection.ask("GET", "/subjects", headers=headers)
                    self.assertEqual(answer.status, 401, answer)
                    self.assertEqual(answer.json["error_code"] // (1 if answer.json["error_code"] < 1000 else 100),
                                     401)

    def test_every_answer_is_of_the_registrys_type(self):
        for path in ("/subjects", "/nothing", "/subjects/nobody/versions"):
            self.connection.http.request("GET", path, headers=self.connection.headers)
            answer = self.connection.http.getresponse()
            json.loads(answer.read())
            self.assertEqual(answer.getheader("Content-Type"), JSON_TYPE, path)


if __name__ == "__main__":
    unittest.main()
