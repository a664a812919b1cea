"""CPU time, load, medians."""

import os
import pathlib
import statistics
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The measurement cannot be made, or what was measured is not what was asked for."""


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}" if text else "\r\033[K", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def load_average():
    return os.getloadavg()[0]


def cpu_seconds(pid):
    """User and system time of a process so far, all of its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def spread(values):
    """Median, least and most of some runs."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def percentile(ordered, part):
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


class Passage:
    """What a process spends from the first offset that its group commits to the last."""

    def __init__(self, system, topic, group, process, timeout=900):
        self.partitions = system.partitions(topic)
        self.total = sum(system.end_offsets(topic).values())
        # What a transaction has in hand does not hold up the answer.
        self.reader = system.consumer(group=group, isolation="read_uncommitted")
        self.process, self.timeout = process, timeout

    def committed(self):
        return sum(max(part.offset, 0) for part in self.reader.committed(self.partitions, timeout=30))

    def measure(self):
        """{records, cpu_seconds, wall_seconds}. BenchError when the process ends or stands still."""
        first = None
        seen, seen_at = 0, time.monotonic()
        while True:
            now, offsets = time.monotonic(), self.committed()
            if self.process.poll() is not None:
                raise BenchError(f"the process ended with {self.process.returncode} at {offsets} of {self.total} records")
            sample = (offsets, cpu_seconds(self.process.pid), time.monotonic())
            if offsets != seen:
                seen, seen_at = offsets, now
            if now - seen_at > 120:
                raise BenchError(f"nothing comes any more after {offsets} of {self.total} records")
            if offsets > 0 and first is None:
                first = sample
            if offsets >= self.total:
                break
            time.sleep(0.02)  # between two looks; what is measured lies between two of them
        self.reader.close()
        if first[0] >= self.total:
            raise BenchError("all was read between two looks: too few records to measure")
        return {"records": sample[0] - first[0], "cpu_seconds": sample[1] - first[1],
                "wall_seconds": sample[2] - first[2]}
