"""What is measured and what it is compared with. Each `run` reads W1's topic from its beginning to its end, compares what
came out with the oracle's answers, and gives what that took."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import time

from measuring import BenchError, Passage
from system import BIN

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = BIN.parent / "bench"
PEERS = HERE.parents[0] / "peers"


def read_records(system, topic, begin):
    """The committed records of a topic from {partition: offset} to its end now."""
    consumer = system.consumer(group=f"reader-of-{topic}")
    parts = system.partitions(topic)
    for part in parts:
        part.offset = begin.get(part.partition, 0)
    consumer.assign(parts)
    waiting = {part.partition for part in parts}
    records = []
    last = time.monotonic()
    while waiting:
        messages = consumer.consume(5_000, timeout=0.1)
        if messages:
            last = time.monotonic()
        elif time.monotonic() > last + 30:
            raise BenchError(f"{topic}: no end comes")
        for message in messages:
            if message.error():
                waiting.discard(message.partition())
            else:
                records.append(message)
    consumer.close()
    return records


def fields(data):
    """(number, value) of each field of a Protobuf message: an int, or bytes."""
    at = 0

    def varint():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(data):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            yield tag >> 3, data[at:at + length]
            at += length
        elif tag & 7 == 1:
            yield tag >> 3, data[at:at + 8]
            at += 8
        else:
            yield tag >> 3, varint()


def compare(what, got, want):
    """BenchError that names a few of the differences."""
    if got == want:
        return
    missing, surplus = sorted(set(want) - set(got)), sorted(set(got) - set(want))
    raise BenchError(f"{what}: {len(got)} firings where the oracle has {len(want)}; missing {missing[:3]}, "
                     f"surplus {surplus[:3]}")


class Ours:
    """tocsin-correlation with one worker, exactly once, and nothing set that does not stand in `more`."""
    name = "ours"
    changelog = "correlation-bench.w1-changelog"

    def __init__(self, system, answers, more="", label=""):
        """`label` keeps the groups of several of these apart."""
        self.system, self.answers, self.more, self.label = system, answers, more, label
        self.full_answers = answers
        self.runs = 0

    def apply_rule(self):
        """Once, before the topic has events; the rule stays in correlation.rules."""
        process = self.system.make_correlation("setup", ["setup"], group="setup").start()
        self.system.apply_rule(process, HERE / "pack/rules/w1.yaml")
        process.stop()

    def start(self, topic):
        """(process, the topic of its firings, where they begin, its group); it reads `topic` from its beginning."""
        self.runs += 1
        self.system.delete_topics(self.changelog)
        begin = self.system.end_offsets("detections")
        group = f"ours-{self.label}{self.runs}"
        process = self.system.make_correlation(group, ["worker-0"], group=group, more=self.more).start()
        return process, "detections", begin, group

    def end(self, process, group):
        process.stop()
        shutil.rmtree(self.system.folder / f"state-{group}", ignore_errors=True)

    def run(self, topic):
        process, _, begin, group = self.start(topic)
        try:
            taken = Passage(self.system, topic, group, process.process).measure()
        except BenchError as failure:
            raise BenchError(f"{failure}\n{process.end_of_log()}") from None
        self.end(process, group)
        compare(self.name, sorted(map(self.firing, read_records(self.system, "detections", begin))), self.answers)
        return taken

    @staticmethod
    def firing(record):
        """(key, time in ms, ids of its events) of a detection."""
        key, time_ms, ids = None, 0, []
        for number, value in fields(record.value()[6:]):
            if number == 5:
                key = int(value)
            elif number == 6:
                time = dict(fields(value))
                time_ms = time.get(1, 0) * 1000 + time.get(2, 0) // 1_000_000
            elif number == 10:
                ids.append(int(dict(fields(value))[5]))
        return key, time_ms, tuple(ids)


class KafkaStreams:
    """bench/peers/kafka_streams: EOS v2, one stream thread, a commit each 100 ms."""
    name = "kafka_streams"

    def __init__(self, system, answers, guarantee="exactly_once_v2", commit="100", label=""):
        self.system, self.guarantee, self.commit, self.label = system, guarantee, commit, label
        self.answers, self.full_answers = [firing[:2] for firing in answers], answers
        self.runs = 0
        built = subprocess.run([PEERS / "kafka_streams/build"], stdout=subprocess.PIPE, text=True, check=False)
        if built.returncode != 0:
            raise BenchError("Kafka Streams cannot be built (above)")
        self.class_path = built.stdout.strip()

    def start(self, topic):
        """As Ours.start; the process is a subprocess.Popen."""
        self.runs += 1
        application = f"streams-{self.label}{self.runs}"
        output = f"{application}-firings"
        self.system.make_topics({output: (4, {})})
        with open(self.system.folder / f"{application}.log", "wb") as log:
            process = subprocess.Popen(
                ["java", "-cp", self.class_path, "Threshold", f"broker={self.system.direct}",
                 f"application={application}", f"input={topic}", f"output={output}",
                 f"state={self.system.folder / application}", f"guarantee={self.guarantee}", f"commit={self.commit}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return process, output, {}, application

    def end(self, process, application):
        process.kill()
        process.wait()
        shutil.rmtree(self.system.folder / application, ignore_errors=True)
        topics = set(self.system.kafka_admin.list_topics(timeout=10).topics)
        self.system.delete_topics(*({f"{application}-firings", f"{application}-windows-changelog"} & topics))

    def run(self, topic):
        process, output, begin, application = self.start(topic)
        try:
            taken = Passage(self.system, topic, application, process).measure()
            compare(self.name, sorted(map(self.firing, read_records(self.system, output, begin))), self.answers)
        except BenchError as failure:
            log = (self.system.folder / f"{application}.log").read_text(errors="replace")
            raise BenchError(f"{failure}\n{log[-2000:]}") from None
        finally:
            self.end(process, application)
        return taken

    @staticmethod
    def firing(record):
        """(key, time in ms) of a firing."""
        return int(record.key()), struct.unpack(">q", record.value()[-8:])[0]


class BareConsumer:
    """bench/peers/bare_consumer: librdkafka's consume loop, which does nothing with what it reads."""
    name = "bare_consumer"

    def __init__(self, system):
        self.system = system

    def run(self, topic):
        done = subprocess.run([PROGRAMS / "bare_consumer", "--broker", self.system.direct, "--topic", topic],
                              stdout=subprocess.PIPE, text=True, check=False, env=dict(os.environ))
        if done.returncode != 0:
            raise BenchError("the bare consumer failed (above)")
        return json.loads(done.stdout)


def write_w1(system, topic, schema_id, options, **more):
    """Events written. The oracle's parameters are the generator's."""
    command = [PROGRAMS / "w1_writer", "--broker", system.direct, "--topic", topic, "--schema-id", schema_id]
    for name, value in {"events": options.events, **more}.items():
        command += [f"--{name}", value]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise BenchError("the events were not written (above)")
    return int(done.stdout)
