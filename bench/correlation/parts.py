"""The parts of the benchmark, each by itself: what is set up, in which turn the contenders run, what the result says."""

import copy
import pathlib
import shutil
import subprocess
import tempfile
import time

import in_process as in_process_of
import latency as latency_of
import oracle
import recovery as recovery_of
import windows_over_kafka
from cluster import Cluster
from contenders import HERE, BareConsumer, KafkaStreams, Ours, write_w1
from measuring import load_average, progress, spread
from system import BIN, System

CONTENDERS = ("kafka_streams", "bare_consumer")
KEYS, SEED = 10_000, 42
TOPIC = "bench.w1"
PACK = HERE / "pack"


class Site:
    """A broker and what correlation needs, in a temporary folder. Use as a context manager."""

    def __init__(self, pack=PACK, topics=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
        self.pack, self.topics = pack, topics or {TOPIC: 4, recovery_of.TOPIC: 4}
        self.cluster = self.system = None

    def __enter__(self):
        try:
            self.cluster = Cluster(self.folder).__enter__()
            self.system = System(self.folder, self.cluster.bootstrap, pack=self.pack)
            self.system.make_own_topics(self.topics)
            self.system.start_registry()
            schema = PACK / "proto/tocsin/bench/v1/event.proto"
            ids = {topic: self.system.register(f"{topic}-value", schema) for topic in self.topics}
            self.schema_id = ids.get(TOPIC)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception):
        if self.system is not None:
            self.system.__exit__(*exception)
        if self.cluster is not None:
            self.cluster.__exit__(*exception)
        shutil.rmtree(self.folder, ignore_errors=True)


def per_cpu_second(run):
    return run["records"] / run["cpu_seconds"]


def per_second(run):
    return run["records"] / run["wall_seconds"]


def summary(runs):
    return {"events_per_cpu_second": spread([per_cpu_second(run) for run in runs]),
            "cpu_us_per_event": spread([1e6 / per_cpu_second(run) for run in runs]),
            "events_per_second": spread([per_second(run) for run in runs])}


def w1(options):
    """Kafka to Kafka, exactly once: every contender reads the same topic from its beginning, in turn."""
    with Site() as site:
        progress("W1: the oracle")
        answers = oracle.w1(options.events, KEYS, SEED)
        ours = Ours(site.system, answers)
        ours.apply_rule()
        begin = time.monotonic()
        written = write_w1(site.system, TOPIC, site.schema_id, options, keys=KEYS, seed=SEED)
        progress(f"W1: {written:,} events written in {time.monotonic() - begin:.1f} s; {len(answers):,} firings to find")
        contenders = [ours]
        if "kafka_streams" not in options.without:
            contenders.append(KafkaStreams(site.system, answers))
        if "bare_consumer" not in options.without:
            contenders.append(BareConsumer(site.system))
        runs = {contender.name: [] for contender in contenders}
        loads = []
        for number in range(options.rounds):
            for contender in contenders:
                loads.append(load_average())
                run = contender.run(TOPIC)
                runs[contender.name].append(run)
                progress(f"W1: round {number + 1} of {options.rounds}: {contender.name}: "
                         f"{1e6 / per_cpu_second(run):.2f} us CPU per event, {per_second(run):,.0f} events/s")
        result = {"events": written, "firings": len(answers), "rounds": options.rounds, "load": spread(loads),
                  "ours": summary(runs["ours"])}
        for contender in contenders[1:]:
            theirs = runs[contender.name]
            part = summary(theirs)
            ratios = [per_cpu_second(a) / per_cpu_second(b) for a, b in zip(runs["ours"], theirs)]
            walls = [per_second(a) / per_second(b) for a, b in zip(runs["ours"], theirs)]
            part.update(ratio=spread(ratios)["median"], ratio_spread=spread(ratios),
                        wall_ratio=spread(walls)["median"], wall_ratio_spread=spread(walls))
            result[contender.name] = part
        return result


def latency(options):
    """10,000 events a second, open loop: ours in both modes, Kafka Streams in both at its own commit intervals."""
    rate, seconds = 10_000, 15 if options.quick else 40
    answers = oracle.w1(rate * seconds, KEYS, SEED)
    with Site() as site:
        ours = Ours(site.system, answers)
        ours.apply_rule()
        contenders = [("ours", "exactly_once", ours)]
        if "guarantee" in subprocess.run([BIN / "tocsin-correlation", "--print-config-schema"], stdout=subprocess.PIPE,
                                         text=True, check=True).stdout:
            contenders.append(
                ("ours", "at_least_once", Ours(site.system, answers, "guarantee: at_least_once\n", "alo-")))
        if "kafka_streams" not in options.without:
            contenders += [
                ("kafka_streams", "exactly_once", KafkaStreams(site.system, answers, "exactly_once_v2", "", "eos-")),
                ("kafka_streams", "at_least_once", KafkaStreams(site.system, answers, "at_least_once", "", "alo-"))]
        runs = {}
        for number in range(options.rounds):
            for who, mode, contender in contenders:
                site.system.delete_topics(TOPIC)
                site.system.make_own_topics({TOPIC: 4})
                run = latency_of.measure(site.system, contender, TOPIC, site.schema_id, rate, seconds)
                runs.setdefault((who, mode), []).append(run)
                progress(f"latency: round {number + 1} of {options.rounds}: {who}, {mode}: p50 {run['p50_ms']:.1f} ms, "
                         f"p99 {run['p99_ms']:.1f} ms")
    result = {"events_per_second": rate, "seconds": seconds, "rounds": options.rounds}
    for (who, mode), of_it in runs.items():
        values = {name: spread([run[name] for run in of_it])["median"] for name in of_it[0]}
        values["p99_ms_spread"] = spread([run["p99_ms"] for run in of_it])
        if who == "ours":
            result[mode] = values
        else:
            theirs = result.setdefault(who, {})
            theirs[mode] = values
            if mode in result:
                values["latency_ratio"] = values["p99_ms"] / result[mode]["p99_ms"]
    return result


def recovery(options):
    """kill -9 with a large state. The same run shows the memory that a million keys take."""
    events = 300_000 if options.quick else 6_000_000
    with Site() as site:
        measured = recovery_of.measure(site, events, options.rounds, recovery_of.contenders(options))
    ours = measured["ours"]
    result = {"events": events, "keys": recovery_of.KEYS, "seconds": ours["median"], "ours": ours}
    if "kafka_streams" in measured:
        theirs = measured["kafka_streams"]
        result["kafka_streams"] = {**theirs, "recovery_ratio": theirs["median"] / ours["median"]}
    return result


def in_process(options):
    """The engine alone on one pinned core, from wire bytes."""
    return in_process_of.measure(options.events, options.rounds)


def windows(options):
    """W3 and W4, Kafka to Kafka: equal to the oracles, undisturbed and with kill -9. No promise but that."""
    events = copy.copy(options)
    events.events = 50_000 if options.quick else 300_000
    topics = {workload.topic: 4 for workload in windows_over_kafka.WORKLOADS}
    with Site(PACK / "windows.yaml", topics) as site:
        return windows_over_kafka.measure(site, events)


PARTS = {"in_process": in_process, "w1": w1, "windows": windows, "latency": latency, "recovery": recovery}


def measure(options, result):
    for name in options.only:
        result["machine"]["load"][name] = load_average()
        result[name] = PARTS[name](options)
    progress("")
