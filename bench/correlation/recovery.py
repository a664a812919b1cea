"""kill -9 of an engine with a large state, started again at once: the time until a read_committed consumer has its next
output. And how much memory that state takes."""

import pathlib
import shutil
import subprocess
import time

from contenders import HERE, PROGRAMS, KafkaStreams
from latency import Reader
from measuring import BenchError, Passage, progress, rss_bytes, spread

TOPIC = "bench.state"
KEYS = 1_000_000
RATE = 2_000
# Bytes that Kafka Streams keeps for each event: about what ours keeps.
EVENT_BYTES = 160
WAIT_SECONDS = 300
# What was committed before the kill has come by then; a new process takes longer.
SETTLE_SECONDS = 0.2


def folder_bytes(folder):
    total = 0
    for path in pathlib.Path(folder).rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            pass  # a compaction has removed it
    return total


def writer(system, schema_id, **options):
    command = [PROGRAMS / "w1_writer", "--broker", system.direct, "--topic", TOPIC, "--schema-id", schema_id, "--keys",
               KEYS]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", value]
    return [str(part) for part in command]


class OursKeeping:
    name = "ours"
    changelog = "correlation-bench.state-changelog"

    def __init__(self, system):
        self.system = system
        self.process = None
        # Before the events, so that none goes by without it.
        setup = system.make_correlation("keeper-setup", ["setup"], group="keeper-setup").start()
        system.apply_rule(setup, HERE / "pack/rules/keep.yaml")
        setup.stop()

    def start(self):
        if self.process is None:
            self.process = self.system.make_correlation("keeper", ["worker-0"], group="keeper")
        self.process.start()
        self.popen = self.process.process

    def begin(self):
        """Starts, and takes in what lies on the topic."""
        self.system.delete_topics(self.changelog)
        self.start()
        Passage(self.system, TOPIC, "keeper", self.popen).measure()
        self.output, self.output_begin = "detections", self.system.end_offsets("detections")
        self.system.apply_rule(self.process, HERE / "pack/rules/pulse.yaml")

    def state_bytes(self):
        return folder_bytes(self.system.folder / "state-keeper")

    def end(self):
        self.process.stop()


class KafkaStreamsKeeping(KafkaStreams):
    def __init__(self, system):
        super().__init__(system, [])
        self.application = "streams-keeper"
        self.output, self.output_begin = f"{self.application}-firings", {}

    def start(self):
        with open(self.system.folder / f"{self.application}.log", "ab") as log:
            self.popen = subprocess.Popen(
                ["java", "-cp", self.class_path, "Threshold", "job=keep", f"bytes={EVENT_BYTES}",
                 f"broker={self.system.direct}", f"application={self.application}", f"input={TOPIC}",
                 f"output={self.output}", "instance=keeper", f"state={self.system.folder / self.application}",
                 f"guarantee={self.guarantee}", f"commit={self.commit}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def begin(self):
        self.system.make_topics({self.output: (4, {})})
        self.start()
        Passage(self.system, TOPIC, self.application, self.popen).measure()
        self.output_begin = self.system.end_offsets(self.output)

    def state_bytes(self):
        return folder_bytes(self.system.folder / self.application)

    def end(self):
        self.popen.kill()
        self.popen.wait()
        shutil.rmtree(self.system.folder / self.application, ignore_errors=True)


def measure(site, events, kills, contenders):
    """{state_mb, rss_mb, seconds: spread of the kills} by contender."""
    system, result = site.system, {}
    progress(f"recovery: {events:,} events of {KEYS:,} keys")
    contenders = [make(system) for make in contenders]
    done = subprocess.run(writer(system, site.schema_id, events=events), stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise BenchError("the events were not written (above)")
    first_id = 2 * events
    for contender in contenders:
        contender.begin()
        state, rss = contender.state_bytes(), rss_bytes(contender.popen.pid)
        progress(f"recovery: {contender.name}: {state >> 20} MiB of state, {rss >> 20} MiB RSS")
        reader = Reader(system, contender.output, contender.output_begin)
        reader.start()
        # Longer than it can take; ended with the last kill.
        load = subprocess.Popen(writer(system, site.schema_id, rate=RATE, seconds=WAIT_SECONDS * (kills + 1),
                                       first_id=first_id), stdout=subprocess.DEVNULL)
        first_id += RATE * WAIT_SECONDS * (kills + 1)
        times = []
        try:
            await_output(reader, time.time(), contender)
            for _ in range(kills):
                time.sleep(5)  # it runs for a while between two kills
                contender.popen.kill()
                contender.popen.wait()
                killed = time.time()
                contender.start()
                times.append(await_output(reader, killed + SETTLE_SECONDS, contender) - killed)
                progress(f"recovery: {contender.name}: next committed output after {times[-1]:.2f} s")
        finally:
            load.kill()
            load.wait()
            reader.stop()
            contender.end()
        result[contender.name] = {"state_mb": state / 2**20, "rss_mb": rss / 2**20, **spread(times)}
    return result


def await_output(reader, after, contender):
    """When the first output behind that moment came."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        came = [when for when, _ in reader.came[-5_000:] if when > after]
        if came:
            return came[0]
        if time.monotonic() > deadline or contender.popen.poll() is not None:
            raise BenchError(f"{contender.name}: no output within {WAIT_SECONDS} s")
        time.sleep(0.01)  # the poll interval; the condition decides


def contenders(options):
    return [OursKeeping] + ([] if "kafka_streams" in options.without else [KafkaStreamsKeeping])

