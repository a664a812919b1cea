"""Registries of one's own over one real Kafka broker: processes, tokens, and plain HTTP. Standard library alone."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("TOCSIN_BIN", ROOT / "build" / "release" / "bin"))
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
import broker  # noqa: E402  (lives beside the fixture that it serves)

JSON_TYPE = "application/vnd.schemaregistry.v1+json"
# Registered by the registry itself, for its audit log, after the first change.
OWN_SUBJECT = "audit.event-value"
ISSUER, AUDIENCE = "tocsin-test", "tocsin-test"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} failed:\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def wait_for(what, condition, timeout):
    """Polls until condition() is true; an AssertionError that names `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(0.02)  # the poll interval; the condition decides


class Answer:
    def __init__(self, status, body):
        self.status = status
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Connection:
    """Requests to one replica over one kept connection. One thread."""

    def __init__(self, address, token, timeout=30):
        host, port = address.split(":")
        self.http = http.client.HTTPConnection(host, int(port), timeout=timeout)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.http.close()

    def ask(self, method, path, body=None, headers=None):
        """`body`: bytes as they are, or anything that JSON can say. OSError, HTTPException: no answer."""
        given = dict(self.headers, **(headers or {}))
        if body is not None:
            given.setdefault("Content-Type", JSON_TYPE)
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
        try:
            self.http.request(method, path, body=body, headers=given)
            answer = self.http.getresponse()
            return Answer(answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            self.http.close()  # the next request opens a new one
            raise

    def get(self, path):
        return self.ask("GET", path)

    def register(self, subject, schema, **more):
        return self.ask("POST", f"/subjects/{quoted(subject)}/versions",
                        {"schema": schema, "schemaType": "PROTOBUF", **more})


def quoted(subject):
    return urllib.parse.quote(subject, safe="")


class Credentials:
    """A signing key, tokens by it, and a certificate for the mesh, all made by openssl in `folder`."""

    def __init__(self, folder):
        self.key = folder / "token-key.pem"
        self.public_key = folder / "test.pem"
        self.certificate, self.certificate_key = folder / "mesh.pem", folder / "mesh-key.pem"
        self.scratch = folder / "to-sign"
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", self.key)
        run("openssl", "pkey", "-in", self.key, "-pubout", "-out", self.public_key)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/CN=schema-registry", "-addext", "subjectAltName=DNS:schema-registry,IP:127.0.0.1",
            "-keyout", self.certificate_key, "-out", self.certificate)

    def token(self, *roles, name="compat"):
        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")
        now = int(time.time())
        head = part(json.dumps({"alg": "EdDSA", "typ": "JWT", "kid": "test"}).encode())
        claims = part(json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": name, "iat": now, "exp": now + 86400,
                                  "roles": roles}).encode())
        self.scratch.write_bytes(head + b"." + claims)
        signature = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", self.scratch)
        return (head + b"." + claims + b"." + part(signature)).decode()


class Replica:
    """One registry process on ports of its own, which it keeps when it is started again."""

    def __init__(self, number, folder, credentials, kafka, extra=""):
        self.number = number
        self.log = folder / f"registry-{number}.log"
        self.config = folder / f"registry-{number}.yaml"
        ports = broker.free_ports(3)
        self.address, self.admin, self.grpc = (f"127.0.0.1:{port}" for port in ports)
        self.process = None
        self.config.write_text(f"""process:
  name: schema-registry
  listen: "{self.grpc}"
  admin-listen: "{self.admin}"
  tls:
    certificate-file: "{credentials.certificate}"
    key-file: "{credentials.certificate_key}"
    ca-file: "{credentials.certificate}"
  auth: {{issuer: {ISSUER}, audience: {AUDIENCE}, public-key-files: ["{credentials.public_key}"]}}
kafka: {{bootstrap-servers: "{kafka}", replication-factor: 1}}
rest: {{listen: "{self.address}"}}
{extra}""")

    @property
    def url(self):
        return f"http://{self.address}"

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / "tocsin-schema-registry", "--config", self.config],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the registry ended with {self.process.returncode}:\n{self.end_of_log()}")
        try:
            with Connection(self.admin, None, timeout=5) as admin:
                return admin.get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def await_ready(self, timeout=60):
        wait_for(f"replica {self.number} to be ready", self.ready, timeout)

    def metric(self, name):
        """The sum of the samples of a metric; None where there is none of that name."""
        with Connection(self.admin, None) as admin:
            lines = admin.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found) if found else None

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def end_of_log(self, lines=25):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Registries:
    """A broker and `count` replicas over it. Use as a context manager."""

    def __init__(self, count=1, extra="", start=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tocsin-compat-"))
        self.count, self.extra, self.start_now = count, extra, start
        self.replicas = []

    def __enter__(self):
        try:
            broker.start(self.folder / "broker")
            self.kafka = (self.folder / "broker" / "address").read_text()
            self.credentials = Credentials(self.folder)
            self.admin_token = self.credentials.token("schema.admin", name="compat-admin")
            if self.start_now:
                self.start_replicas()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def start_replicas(self):
        for number in range(len(self.replicas), self.count):
            self.add_replica(number)
        for replica in self.replicas:
            replica.await_ready()

    def add_replica(self, number):
        replica = Replica(number, self.folder, self.credentials, self.kafka, self.extra)
        self.replicas.append(replica)
        replica.start()
        return replica

    def __exit__(self, *exception):
        for replica in self.replicas:
            with contextlib.suppress(subprocess.TimeoutExpired):
                replica.stop()
            if exception and exception[0] is not None:
                print(f"--- the end of replica {replica.number}'s log\n{replica.end_of_log()}")
        broker.stop(self.folder / "broker")
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, number=0, token=None, timeout=30):
        return Connection(self.replicas[number].address, token or self.admin_token, timeout)
