"""The right answer to workload W4 (window_events.h) by brute force. Shares no code with the product or the generator."""

import collections
import itertools

from oracle import BEGIN_MS, splitmix64

SIZE_MS = 10_000
SLIDE_MS = 2_000


def w4(count, seed):
    """Sorted [(end of the window, its highest number of bids, (the auctions that have it, …))]."""
    numbers = splitmix64(seed)
    windows = collections.defaultdict(collections.Counter)
    for i in range(count):
        hot, auction = itertools.islice(numbers, 2)
        auction %= 10 if hot % 2 == 0 else 1_000
        start = (BEGIN_MS + i) // SLIDE_MS * SLIDE_MS
        while start > BEGIN_MS + i - SIZE_MS:
            windows[start + SIZE_MS][auction] += 1
            start -= SLIDE_MS
    answers = []
    for end, bids in windows.items():
        most = max(bids.values())
        answers.append((end, most, tuple(sorted(auction for auction, times in bids.items() if times == most))))
    return sorted(answers)
