"""The engine alone, without Kafka: in_process.cc, its firings compared with the oracle."""

import json
import os
import pathlib
import subprocess
import tempfile

import oracle
from measuring import BenchError, progress, spread

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAM = ROOT / "build/release/bench/in_process"
SEED = 42


def run(folder, events, keys, store=None):
    firings = folder / "firings"
    arguments = [PROGRAM, "--rule", HERE / "pack/rules/w1.yaml", "--schema",
                 HERE / "pack/proto/tocsin/bench/v1/event.proto", "--events", str(events), "--keys", str(keys), "--seed",
                 str(SEED), "--cpu", str(max(os.sched_getaffinity(0))), "--firings", firings]
    if store is not None:
        arguments += ["--store", store]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"in_process: {done.stderr.strip()}")
    measured = json.loads(done.stdout)
    fired = []
    for line in firings.read_text().splitlines():
        key, time, *ids = (int(word) for word in line.split())
        fired.append((key, time, tuple(ids)))
    return measured, sorted(fired)


def measure(events, rounds):
    result = {}
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        folder = pathlib.Path(name)
        for keys in (10_000, 1_000_000):
            answers = oracle.w1(events, keys, SEED)
            runs = []
            for number in range(rounds if keys == 10_000 else 1):
                store = None if keys == 10_000 else folder / "state"
                measured, fired = run(folder, events, keys, store)
                if fired != answers or measured["rules"]["firings"] != len(answers):
                    raise BenchError(f"in_process: {len(fired)} firings of {keys} keys are not the {len(answers)} of the "
                                     "oracle")
                runs.append(measured)
                progress(f"in process: {keys:,} keys, round {number + 1}: rules "
                         f"{measured['rules']['us_per_event']:.3f} us, task {measured['task']['us_per_event']:.3f} us "
                         "CPU per event")
            if keys == 1_000_000:
                result["million_keys"] = {"rss_mb": runs[0]["rss_mb"] - runs[0]["rss_mb_before"],
                                          "task": runs[0]["task"]}
                continue
            rules = spread([of["rules"]["events_per_second"] for of in runs])
            result.update(events=runs[0]["events"], passing=runs[0]["pass"], firings=len(answers),
                          events_per_second=rules["median"], events_per_second_spread=rules)
            for part in ("rules", "task"):
                result[part] = {figure: spread([of[part][figure] for of in runs])
                                for figure in ("events_per_second", "us_per_event", "us_per_event_that_passes")}
    return result
