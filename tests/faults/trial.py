"""One trial: correlation processes under load over three real brokers, faults by a seed, then the oracle. What went wrong can
be done again with the same seed, but for the moments at which the machine is faster or slower."""

import contextlib
import datetime
import json
import pathlib
import random
import signal
import threading
import time

from confluent_kafka import Producer

import history
import oracle
import planting
from proxy import Fault
from system import ROOT, wait_for

PACK = pathlib.Path(__file__).resolve().parent / "pack"
STREAM, REPARTITION = history.STREAM, "correlation-faults.events-by-place-repartition"
PARTITIONS = 6
OWN_TOPICS = (STREAM, f"{STREAM}.dlq", "correlation-faults.events-changelog", REPARTITION, "correlation.rules",
              "detections", "incidents.correlated", "correlation-workers")
BEGIN = datetime.datetime(2023, 11, 14, tzinfo=datetime.timezone.utc)
# From one event to the next, in event time.
STEP = datetime.timedelta(milliseconds=10)
CLIENT = "tocsin-correlation"
# Ways in which a record is no event: each of them goes to the dead letters, once.
POISONS = ("no id", "no time", "truncated", "no schema")
SESSION_SECONDS, TRANSACTION_SECONDS = 10, 8


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def encode(number, key, place, kind):
    out = b"\x08" + varint(number)
    for tag, value in ((b"\x12", key), (b"\x1a", place), (b"\x22", kind)):
        out += tag + varint(len(value)) + value.encode()
    return out


class Load(threading.Thread):
    """Sends `rate` events a second for `seconds`, one in a hundred twice, and now and then a record that
    is no event; then one last event to each partition."""

    def __init__(self, brokers, schema_id, seed, rate, seconds):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.rate, self.seconds = rate, seconds
        self.prefix = b"\0" + schema_id.to_bytes(4, "big") + b"\0"
        self.failure = None
        self.sent = 0
        self.producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "acks": "all",
                                  "compression.type": "lz4", "partitioner": "murmur2_random", "linger.ms": 5,
                                  "message.timeout.ms": 300_000, "log_level": 0})

    def run(self):
        begin = time.monotonic()
        for number in range(int(self.rate * self.seconds)):
            while time.monotonic() < begin + number / self.rate:
                self.producer.poll(0.002)
            key, place = f"k{self.random.randrange(200)}", f"p{self.random.randrange(40)}"
            kind = "alarm" if self.random.random() < 0.3 else "calm"
            for _ in range(2 if self.random.random() < 0.01 else 1):
                self.send(number, key, place, kind, BEGIN + number * STEP)
            if self.random.random() < 0.005:
                self.send(number, key, place, kind, BEGIN + number * STEP, poison=self.random.choice(POISONS))
        for partition in range(PARTITIONS):
            self.send(10**9 + partition, f"end-{partition}", "end", "end", BEGIN + datetime.timedelta(days=1), partition)
        if self.producer.flush(300) > 0:
            self.failure = "events were not taken by Kafka"

    def send(self, number, key, place, kind, when, partition=-1, poison=""):
        def delivered(error, _):
            if error is not None:
                self.failure = str(error)
        headers = {"ce_specversion": "1.0", "ce_id": str(number), "ce_source": "/faults", "ce_sequence": f"{number:012d}",
                   "ce_type": "tocsin.faults.v1.Event", "ce_time": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        value = self.prefix + encode(number, key, place, kind)
        if poison:
            headers[history.POISON] = poison
        if poison == "no id":
            del headers["ce_id"]
        elif poison == "no time":
            headers["ce_time"] = "yesterday"
        elif poison == "truncated":
            value = value[:-2]
        elif poison == "no schema":
            value = b"\1" + value[1:]
        while True:
            try:
                self.producer.produce(STREAM, value, key, partition=partition, headers=headers, on_delivery=delivered)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.sent += 1


class Trial:
    """`site`: cluster, proxy, system and schema_id (site.py). Processes are p0, p1, … with `workers` workers each."""

    def __init__(self, site, number, seed, seconds, rate=800):
        self.site, self.system, self.proxy, self.cluster = site, site.system, site.proxy, site.cluster
        self.seed, self.seconds, self.rate = seed, seconds, rate
        self.random = random.Random(seed)
        self.group = f"faults-{number}-{seed}"
        self.processes = []
        self.events = []
        self.begin = 0.0

    # --- what scenarios are made of ---

    def note(self, what):
        self.events.append((round(time.monotonic() - self.begin, 2), what))

    def add_process(self, workers):
        number = len(self.processes)
        names = [f"w{number}-{i}" for i in range(workers)]
        process = self.system.make_correlation(f"{self.group}-p{number}", names, group=self.group)
        process.start()
        self.processes.append(process)
        return process

    def pause_for(self, least, most):
        time.sleep(self.random.uniform(least, most))  # faults come at moments that the seed chooses

    def one(self):
        return self.random.choice([process for process in self.processes if process.running])

    def kill(self, process, away=(0.0, 1.0)):
        self.note(f"kill -9 {process.instance}")
        process.kill()
        self.pause_for(*away)
        process.start()

    def freeze(self, process, seconds):
        self.note(f"SIGSTOP {process.instance} for {seconds:.1f} s")
        process.signal(signal.SIGSTOP)
        time.sleep(seconds)  # the length of the fault
        process.signal(signal.SIGCONT)

    def plant(self, apis, action, seconds=0.0, count=1, skip=0):
        self.note(f"{action} {'/'.join(apis)} {seconds:.1f} s x {count}")
        self.proxy.plant(Fault(tuple(apis), action, seconds, count, CLIENT, skip))

    def keep_alive(self):
        """A fenced or failed process ends with a code; whoever runs it starts it again."""
        for process in self.processes:
            if process.process.poll() is not None and process not in self.retired:
                self.note(f"{process.instance} had ended with {process.process.returncode}")
                process.start()

    # --- the trial ---

    def run(self, scenario, processes=2, workers=2):
        """Findings; empty: everything is right."""
        self.retired = []
        self.prepare()
        try:
            self.begin = time.monotonic()
            for _ in range(processes):
                self.add_process(workers)
            for file in sorted((PACK / "rules").glob("*.yaml")):
                self.system.apply_rule(self.processes[0], file)
            for process in self.processes:
                process.await_ready()
            load = Load(self.cluster.direct, self.site.schema_id, self.seed, self.rate, self.seconds)
            load.start()
            self.note("load begins")
            scenario(self, time.monotonic() + self.seconds)
            load.join()
            if load.failure:
                raise AssertionError(f"the load failed: {load.failure}")
            self.proxy.clear()
            self.note(f"{load.sent} events sent")
            self.await_end()
            self.note("all is read")
        finally:
            self.stop()
        self.history = history.take(self.system, self.group)
        findings = oracle.check(self.history)
        if len(self.history["input"]) != load.sent:
            findings.append(f"the input log has {len(self.history['input'])} records, {load.sent} were sent")
        if not self.history["outputs"]["detections"]:
            findings.append("no detection at all: the trial shows nothing")
        return findings or self.blind_spots()

    def blind_spots(self):
        """The oracle must find every bug that is planted into a copy of these very outputs."""
        plants = list(planting.PLANTS)
        if any(True for topic, *_ in oracle.stamped(self.history) if topic == REPARTITION):
            plants += planting.STAMPED_PLANTS
        return [f"the oracle is blind: a planted {name} is not found" for name in plants
                if not oracle.check(planting.plant(name, self.history, self.random))]

    def prepare(self):
        self.proxy.clear()
        existing = set(self.system.kafka_admin.list_topics(timeout=30).topics)
        self.system.delete_topics(*(set(OWN_TOPICS) & existing))
        self.system.make_own_topics({STREAM: PARTITIONS})

    def await_end(self, timeout=180):
        """Until everything, forwarded events included, is taken in and committed."""
        reader = self.system.consumer(group=self.group, isolation="read_uncommitted")
        ends = self.system.end_offsets(STREAM)

        def committed(topic):
            return {part.partition: part.offset for part in reader.committed(self.system.partitions(topic), timeout=30)}

        def done():
            self.keep_alive()
            if committed(STREAM) != ends:
                return False
            forwarded = {}
            for record in history.read(self.system, REPARTITION, "read_committed"):
                forwarded[record["partition"]] = record["offset"] + 1
            taken = committed(REPARTITION)
            return all(taken.get(partition, -1) >= end for partition, end in forwarded.items())

        try:
            wait_for(f"the group {self.group} to come to the end of its input", done, timeout)
        except AssertionError as failure:
            logs = "\n".join(f"--- {process.instance}\n{process.end_of_log(8)}" for process in self.processes)
            raise AssertionError(f"{failure}\nends {ends}, committed {committed(STREAM)}\n{logs}") from None
        finally:
            reader.close()

    def stop(self):
        for process in self.processes:
            with contextlib.suppress(AssertionError):
                process.stop()
            self.system.processes.remove(process)

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events.json").write_text(json.dumps(self.events, indent=1))
        if hasattr(self, "history"):
            (folder / "history.json").write_text(json.dumps(self.history))
        for process in self.processes:
            (folder / process.log.name).write_bytes(process.log.read_bytes())
        return folder


# --- scenarios: (trial, when the load ends) ---

def until(trial, end, gap, step):
    while True:
        trial.pause_for(*gap)
        if time.monotonic() >= end:
            return
        step()
        trial.keep_alive()


def kill_processes(trial, end):
    """kill -9 of a correlation process, again and again."""
    until(trial, end, (1.0, 4.0), lambda: trial.kill(trial.one()))


def zombies(trial, end):
    """SIGSTOP beyond the session and the transaction timeout, while the others take over; then SIGCONT."""
    beyond = max(SESSION_SECONDS, TRANSACTION_SECONDS)
    until(trial, end, (0.5, 2.0), lambda: trial.freeze(trial.one(), trial.random.uniform(beyond + 1, beyond + 4)))


def short_stops(trial, end):
    """SIGSTOP for less than the timeouts."""
    until(trial, end, (0.5, 2.0), lambda: trial.freeze(trial.one(), trial.random.uniform(0.5, 7.0)))


def kill_brokers(trial, end):
    """kill -9 of one broker of three, and back."""
    def step():
        number = trial.random.randrange(3)
        trial.note(f"kill -9 broker {number}")
        trial.cluster.kill(number)
        trial.pause_for(0.5, 4.0)
        trial.cluster.resume(number)
        trial.note(f"broker {number} is back")
    until(trial, end, (1.0, 3.0), step)


def rolling_restart(trial, end):
    """Each broker in turn, in order."""
    for number in range(3):
        trial.pause_for(0.5, 2.0)
        trial.note(f"stop broker {number}")
        trial.cluster.stop(number)
        trial.cluster.resume(number)
        trial.note(f"broker {number} is back")
        trial.keep_alive()


def frozen_broker(trial, end):
    """One broker stands still: its clients hear nothing and no connection closes."""
    def step():
        number, seconds = trial.random.randrange(3), trial.random.uniform(1.0, 9.0)
        trial.note(f"SIGSTOP broker {number} for {seconds:.1f} s")
        trial.cluster.pause(number)
        time.sleep(seconds)  # the length of the fault
        trial.cluster.go_on(number)
    until(trial, end, (1.0, 3.0), step)


def frozen_cluster(trial, end):
    """All three brokers stand still, or are killed, and come back."""
    def step():
        seconds = trial.random.uniform(1.0, 12.0)
        if trial.random.random() < 0.6:
            trial.note(f"SIGSTOP all brokers for {seconds:.1f} s")
            for number in range(3):
                trial.cluster.pause(number)
            time.sleep(seconds)  # the length of the fault
            for number in range(3):
                trial.cluster.go_on(number)
            return
        trial.note("kill -9 all brokers")
        for number in range(3):
            trial.cluster.kill(number)
        trial.cluster.resume_all()
        trial.note("all brokers are back")
    until(trial, end, (1.0, 3.0), step)


def held_ends(trial, end):
    """EndTxn held for 0.1 to 30 s, repeated later, its answer lost, its connection cut: none may end a later transaction."""
    def step():
        action = trial.random.choice(["hold", "hold", "repeat", "cut_after", "cut_before", "drop_answer", "hold_answer"])
        seconds = trial.random.choice([0.1, 0.5, 2.0, 5.0, 7.0, 12.0, 30.0])
        trial.plant(["EndTxn"], action, seconds, count=trial.random.choice([1, 1, 3]))
    until(trial, end, (0.5, 4.0), step)


def held_requests(trial, end):
    """The other requests of a transaction, and those that find the coordinator: held, cut, lost, repeated."""
    apis = ["AddOffsetsToTxn", "TxnOffsetCommit", "Produce", "FindCoordinator", "InitProducerId", "AddPartitionsToTxn",
            "OffsetFetch", "Heartbeat"]
    def step():
        api = trial.random.choice(apis)
        # Twice delivered, a Produce is the broker's to recognise, and the others change nothing.
        action = trial.random.choice(["hold", "cut_before", "cut_after", "drop_answer", "hold_answer", "repeat"])
        trial.plant([api], action, trial.random.choice([0.1, 1.0, 5.0, 9.0]), count=trial.random.choice([1, 3]))
        if trial.random.random() < 0.2:
            trial.note("cut every connection")
            trial.proxy.cut_all()
    until(trial, end, (0.3, 2.0), step)


def scale(trial, end):
    """1 → 4 → 2 processes under load."""
    third = (end - time.monotonic()) / 3
    trial.pause_for(third * 0.7, third)
    while len(trial.processes) < 4:
        trial.note("one process more")
        trial.add_process(1)
    trial.pause_for(third * 0.7, third)
    for process in trial.random.sample(trial.processes, 2):
        trial.note(f"SIGTERM {process.instance}")
        trial.retired.append(process)
        process.stop()


def mixed(trial, end):
    """Something of everything that takes little time."""
    steps = [lambda: trial.kill(trial.one(), away=(0.0, 0.3)),
             lambda: trial.freeze(trial.one(), trial.random.uniform(0.2, 1.5)),
             lambda: trial.plant(["EndTxn"], trial.random.choice(["hold", "repeat", "cut_after", "cut_before"]),
                                 trial.random.choice([0.1, 1.0, 3.0])),
             trial.proxy.cut_all]
    until(trial, end, (0.5, 1.5), lambda: trial.random.choice(steps)())


SCENARIOS = {"kill": kill_processes, "zombie": zombies, "stop": short_stops, "broker-kill": kill_brokers,
             "rolling-restart": rolling_restart, "broker-freeze": frozen_broker, "cluster-freeze": frozen_cluster,
             "end-held": held_ends,
             "requests-held": held_requests, "scale": scale, "mixed": mixed}
