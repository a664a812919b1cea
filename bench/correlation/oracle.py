"""The right answers to the benchmarks' workloads, by brute force. Shares no code with the product or the generators."""

import itertools

MASK = (1 << 64) - 1
BEGIN_MS = 1_700_000_000_000


def splitmix64(seed):
    """Sebastiano Vigna's splitmix64, for ever."""
    while True:
        seed = (seed + 0x9e3779b97f4a7c15) & MASK
        mixed = ((seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94d049bb133111eb) & MASK
        yield mixed ^ (mixed >> 31)


def w1_failures(background, keys, seed):
    """Sorted [(time in ms, id, key)] of the events of W1 whose type is below 20 (w1_events.h tells what W1 is)."""
    numbers = splitmix64(seed)
    failures = []
    for i in range(background):
        key, kind, _ = itertools.islice(numbers, 3)
        if kind % 100 < 20:
            failures.append((BEGIN_MS + i, i, key % keys))
    event_id = background
    for burst in range(background // 50_000):
        for number in range(100):
            for step in range(12):
                failures.append((BEGIN_MS + number * 5_000 + burst * 50_000 + step * 100, event_id,
                                 number * (keys // 100)))
                event_id += 1
    failures.sort()
    return failures


def w1(background, keys, seed):
    """Sorted [(key, time of the tenth failure in ms, the ten ids)]: ten failures of a key in (t - 60 s, t]; after a
    firing the key begins anew."""
    windows = {}
    firings = []
    for time, event_id, key in w1_failures(background, keys, seed):
        window = [old for old in windows.get(key, ()) if old[0] > time - 60_000]
        window.append((time, event_id))
        if len(window) >= 10:
            firings.append((key, time, tuple(old[1] for old in window)))
            window = []
        windows[key] = window
    return sorted(firings)
