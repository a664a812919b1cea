"""From the moment at which an event was due to be sent until a read_committed consumer has the firing that it completed."""

import subprocess
import threading
import time

from contenders import PROGRAMS, read_records
from measuring import BenchError, percentile

WARM_UP_SECONDS = 5


class Reader(threading.Thread):
    """Takes down when each record of a topic came."""

    def __init__(self, system, topic, begin):
        super().__init__(daemon=True)
        self.consumer = system.consumer(group=f"latency-{topic}", **{"fetch.wait.max.ms": 500, "fetch.min.bytes": 1,
                                                                     "enable.partition.eof": False})
        parts = system.partitions(topic)
        for part in parts:
            part.offset = begin.get(part.partition, 0)
        self.consumer.assign(parts)
        self.came = []
        self.ends = threading.Event()

    def run(self):
        while not self.ends.is_set():
            message = self.consumer.poll(0.2)
            if message is not None and not message.error():
                self.came.append((time.time(), message))
        self.consumer.close()

    def stop(self):
        self.ends.set()
        self.join()
        return self.came


def measure(system, contender, topic, schema_id, rate, seconds):
    """{p50_ms, p99_ms, max_ms, firings} of a contender that runs while `rate` events a second are written to a new topic."""
    process, output, begin, group = contender.start(topic)
    reader = Reader(system, output, begin)
    reader.start()
    try:
        popen = getattr(process, "process", process)
        if hasattr(process, "await_ready"):
            process.await_ready()
        written = subprocess.run(
            [str(part) for part in (PROGRAMS / "w1_writer", "--broker", system.direct, "--topic", topic, "--schema-id",
                                    schema_id, "--rate", rate, "--seconds", seconds)],
            stdout=subprocess.PIPE, text=True, check=False)
        if written.returncode != 0:
            raise BenchError("the events were not written (above)")
        wanted = {firing[:2] for firing in contender.answers}
        deadline = time.monotonic() + 60
        while len({contender.firing(message)[:2] for _, message in list(reader.came)} & wanted) < len(wanted):
            if time.monotonic() > deadline or popen.poll() is not None:
                raise BenchError(f"{contender.name}: {len(reader.came)} of {len(wanted)} firings came")
            time.sleep(0.1)  # the poll interval; the condition decides
    finally:
        came = reader.stop()
        contender.end(process, group)
    due = {(int(record.key()), int(dict(record.headers())["ce_id"])): record.timestamp()[1] / 1000
           for record in read_records(system, topic, {})}
    last_of = {firing[:2]: firing[2][-1] for firing in contender.full_answers}
    first = min(due.values())
    times = []
    for when, message in came:
        firing = contender.firing(message)[:2]
        sent = due[firing[0], last_of[firing]]
        if sent >= first + WARM_UP_SECONDS:
            times.append(1000 * (when - sent))
    if len(times) < 20:
        raise BenchError(f"{contender.name}: only {len(times)} firings to measure")
    times.sort()
    return {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99), "max_ms": times[-1],
            "firings": len(times)}
