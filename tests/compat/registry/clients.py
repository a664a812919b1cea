"""The clients under test: each a program that answers a line of JSON with a line of JSON.

A request is {"op": …, …}. An answer has {"error": …, "status": …, "code": …} where the client raised an error (the last
two where the registry's answer is in it), {"unsupported": true} where the client has no such operation.
"""

import json
import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tocsin"
TOOLS = pathlib.Path(os.environ.get("TOCSIN_COMPAT_TOOLS", CACHE / "registry-clients"))
TEST_BIN = pathlib.Path(os.environ.get("TOCSIN_TEST_BIN", HERE.parents[2] / "build" / "release" / "tests"))

# name: (the command, the file without which it cannot run)
PROGRAMS = {
    "python": ([TOOLS / "python" / "bin" / "python", HERE / "python" / "client.py"],
               TOOLS / "python" / "bin" / "python"),
    "go-confluent": ([TOOLS / "go" / "registry-clients", "confluent"], TOOLS / "go" / "registry-clients"),
    "go-franz": ([TOOLS / "go" / "registry-clients", "franz"], TOOLS / "go" / "registry-clients"),
    "js-confluent": (["node", HERE / "js" / "confluent.cjs"], HERE / "js" / "node_modules"),
    "js-kafkajs": (["node", HERE / "js" / "kafkajs.cjs"], HERE / "js" / "node_modules"),
    "cpp": ([TEST_BIN / "cpp_codec"], TEST_BIN / "cpp_codec"),
}


class Refused(AssertionError):
    """The client raised an error."""

    def __init__(self, client, request, answer):
        super().__init__(f"{client}: {request['op']}: {answer}")
        self.answer = answer
        self.status = answer.get("status")
        self.code = answer.get("code")


class Unsupported(Exception):
    """The client has no such operation, or does not tell what was asked for."""


class Answer(dict):
    def __missing__(self, name):
        raise Unsupported(name)


def installed(name):
    return PROGRAMS[name][1].exists()


def descriptors(folder):
    """Compiles the test's .proto files; gives the file that every client reads."""
    out = folder / "compat.desc"
    if not out.exists():
        subprocess.run(["protoc", f"-I{HERE / 'proto'}", "--include_imports", f"--descriptor_set_out={out}",
                        "compat/v1/order.proto"], check=True)
    return out


class Client:
    """One running client. Use as a context manager."""

    def __init__(self, name, system, token):
        self.name = name
        replica, credentials = system.replicas[0] if system.replicas else None, system.credentials
        environment = dict(
            os.environ, COMPAT_TOKEN=token, COMPAT_KAFKA=system.kafka, COMPAT_PROTOS=str(HERE / "proto"),
            COMPAT_URL=replica.url if replica else "http://127.0.0.1:1", COMPAT_GRPC=replica.grpc if replica else "",
            COMPAT_CERTIFICATE=str(credentials.certificate), COMPAT_KEY=str(credentials.certificate_key),
            COMPAT_CA=str(credentials.certificate), COMPAT_DESCRIPTORS=str(descriptors(system.folder)),
            PYTHONDONTWRITEBYTECODE="1")
        self.process = subprocess.Popen([str(part) for part in PROGRAMS[name][0]], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def ask(self, op, **request):
        """The answer as it comes."""
        request = {"op": op, **request}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.name} ended with {self.process.wait()} at {request}")
        answer = Answer(json.loads(line))
        if answer.get("unsupported"):
            raise Unsupported(f"{self.name}: {op}")
        return answer

    def __call__(self, op, **request):
        """As ask; an error is raised as Refused."""
        answer = self.ask(op, **request)
        if answer.get("error") is not None:
            raise Refused(self.name, {"op": op, **request}, answer)
        return answer
