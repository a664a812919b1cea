"""Correlation as it is deployed, process by process: a registry, correlation processes with their configurations, topics,
schemas, rules; over brokers that the caller names. Needs confluent-kafka; rules are applied through grpcurl."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TOCSIN_BIN", ROOT / "build" / "release" / "bin"))
sys.path.insert(0, str(ROOT / "tests" / "compat" / "registry"))
from running import AUDIENCE, ISSUER, Connection, Credentials, broker, wait_for  # noqa: E402

DAY_MS = 86_400_000
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tocsin"
COMPACTED = {"cleanup.policy": "compact", "compression.type": "lz4"}
DELETED = {"cleanup.policy": "delete", "compression.type": "lz4", "retention.ms": str(30 * DAY_MS)}


def grpcurl():
    """That of ./dev, or this machine's own."""
    folders = [str(folder) for folder in sorted(CACHE.glob("grpcurl-*")) if folder.is_dir()]
    found = shutil.which("grpcurl", path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))
    if found is None:
        raise AssertionError("grpcurl is missing: ./dev test, ./dev faults and ./dev bench install it")
    return found


class Process:
    """One process of ours with a configuration of its own. `text` is its YAML without the part `process`."""

    def __init__(self, name, folder, credentials, text, instance=""):
        self.name = name
        self.instance = instance or name
        self.grpc, self.admin = (f"127.0.0.1:{port}" for port in broker.free_ports(2))
        self.log = folder / f"{self.instance}.log"
        self.config = folder / f"{self.instance}.yaml"
        self.process = None
        self.config.write_text(f"""process:
  name: {name}
  listen: "{self.grpc}"
  admin-listen: "{self.admin}"
  tls:
    certificate-file: "{credentials.certificate}"
    key-file: "{credentials.certificate_key}"
    ca-file: "{credentials.certificate}"
  auth:
    issuer: {ISSUER}
    audience: {AUDIENCE}
    public-key-files: ["{credentials.public_key}"]
    mesh-roles: {{schema-registry: {{roles: [schema.write]}}}}
{text}""")

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, environment=None):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / f"tocsin-{self.name}", "--config", self.config],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, **(environment or {})))
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.instance} ended with {self.process.returncode}:\n{self.end_of_log()}")
        try:
            with Connection(self.admin, None, timeout=5) as admin:
                return admin.get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def await_ready(self, timeout=60):
        try:
            wait_for(f"{self.instance} to be ready", self.ready, timeout)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.end_of_log()}") from None

    def metrics(self):
        """{sample with its labels: value}."""
        with Connection(self.admin, None, timeout=5) as admin:
            lines = admin.get("/metrics").body.decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines
                if line and not line.startswith("#")}

    def signal(self, which):
        self.process.send_signal(which)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=20):
        if not self.running:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.instance} did not stop within {timeout} s:\n{self.end_of_log()}") from None

    def end_of_log(self, lines=25):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class System:
    """What correlation needs around it. `kafka`: bootstrap servers for the processes; `direct`: for this program. Use as a
    context manager; ends every process that it has started."""

    def __init__(self, folder, kafka, direct=None, replication=1, pack=None):
        self.folder, self.kafka, self.direct, self.replication = folder, kafka, direct or kafka, replication
        self.pack = pack
        self.processes = []
        self.credentials = Credentials(folder)
        self.token = self.credentials.token("admin", name="test")
        self.kafka_admin = AdminClient({"bootstrap.servers": self.direct, "log_level": 0})

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in reversed(self.processes):
            if exception and exception[0] is not None:
                print(f"--- the end of {process.instance}'s log\n{process.end_of_log()}", file=sys.stderr)
            if process.running:
                process.process.send_signal(signal.SIGCONT)
                process.process.kill()
                process.process.wait()

    # --- topics ---

    def make_topics(self, topics):
        """{name: (partitions, configs)}; those that exist are left alone."""
        isr = {"min.insync.replicas": "2"} if self.replication > 1 else {}
        made = self.kafka_admin.create_topics(
            [NewTopic(name, partitions, self.replication, config={**configs, **isr})
             for name, (partitions, configs) in topics.items()])
        for name, future in made.items():
            error = future.exception(timeout=30)
            if error is not None and "already exists" not in str(error):
                raise AssertionError(f"topic {name}: {error}")

    def make_own_topics(self, streams):
        """What correlation asks for: its own topics and those of `streams` ({topic: partitions})."""
        topics = {"_schemas": (1, COMPACTED), "correlation.rules": (1, COMPACTED), "detections": (6, DELETED),
                  "incidents.correlated": (6, COMPACTED), "incidents.activity": (6, DELETED),
                  "aggregates": (6, DELETED), "audit.event": (1, DELETED), "correlation-workers": (1, COMPACTED)}
        for stream, partitions in streams.items():
            topics.update({stream: (partitions, DELETED), f"{stream}.dlq": (partitions, DELETED)})
        self.make_topics(topics)

    def delete_topics(self, *names):
        for name, future in self.kafka_admin.delete_topics(list(names)).items():
            error = future.exception(timeout=30)
            if error is not None and "Unknown topic" not in str(error):
                raise AssertionError(f"topic {name}: {error}")
        wait_for("topics to be gone", lambda: not set(names) & set(self.kafka_admin.list_topics(timeout=10).topics), 30)

    def partitions(self, topic):
        found = self.kafka_admin.list_topics(topic, timeout=10).topics[topic]
        return [TopicPartition(topic, number) for number in sorted(found.partitions)]

    def end_offsets(self, topic):
        """{partition: the offset behind its last record}."""
        consumer = self.consumer(isolation="read_uncommitted")
        try:
            return {part.partition: consumer.get_watermark_offsets(part, timeout=10)[1]
                    for part in self.partitions(topic)}
        finally:
            consumer.close()

    def consumer(self, group="reader", isolation="read_committed", **more):
        return Consumer({"bootstrap.servers": self.direct, "group.id": group, "isolation.level": isolation,
                         "enable.auto.commit": False, "auto.offset.reset": "earliest",
                         "enable.partition.eof": True, "log_level": 0, **more})

    # --- processes ---

    def add(self, process):
        self.processes.append(process)
        return process

    def start_registry(self):
        port, = broker.free_ports(1)
        self.registry_rest = f"127.0.0.1:{port}"
        self.registry = self.add(Process(
            "schema-registry", self.folder, self.credentials,
            f"kafka: {{bootstrap-servers: \"{self.direct}\", replication-factor: {self.replication}}}\n"
            f"rest: {{listen: \"{self.registry_rest}\"}}\n")).start()
        self.registry.await_ready()

    def register(self, subject, schema_file):
        """The schema's id."""
        with Connection(self.registry_rest, self.token) as rest:
            answer = rest.register(subject, pathlib.Path(schema_file).read_text())
        if answer.status != 200:
            raise AssertionError(f"{subject}: {answer}")
        return answer.json["id"]

    def make_correlation(self, instance, workers, group="correlation", more=""):
        """Not started. Its state lies in <folder>/state-<instance>."""
        names = ", ".join(workers)
        return self.add(Process(
            "correlation", self.folder, self.credentials,
            f"kafka: {{bootstrap-servers: \"{self.kafka}\", replication-factor: {self.replication}}}\n"
            f"registry: {{target: \"{self.registry.grpc}\"}}\n"
            f"packs: [\"{self.pack}\"]\n"
            f"state-dir: \"{self.folder / ('state-' + instance)}\"\n"
            f"worker-ids: [{names}]\ngroup: {group}\n{more}", instance=instance))

    def apply_rule(self, process, file):
        """Returns once every later event is judged by it."""
        call = [grpcurl(), "-cacert", self.credentials.certificate, "-cert", self.credentials.certificate, "-key",
                self.credentials.certificate_key, "-H", f"authorization: Bearer {self.token}",
                "-import-path", ROOT / "proto", "-proto", "tocsin/correlation/v1/rules.proto", "-max-time", "60",
                "-d", "@", process.grpc, "tocsin.correlation.v1.RuleService/ApplyRule"]
        file = pathlib.Path(file)
        request = json.dumps({"source": file.read_text(), "fileName": file.name})
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run([str(part) for part in call], input=request, capture_output=True, text=True,
                                  check=False)
            if done.returncode == 0:
                return
            if "Unavailable" not in done.stderr or time.monotonic() > deadline:
                raise AssertionError(f"{file.name} was not applied:\n{done.stderr}\n{process.end_of_log()}")
            time.sleep(0.2)  # it says that it is not ready for rules yet
