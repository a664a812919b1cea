"""The right answer to workload W3 (window_events.h) by brute force. Shares no code with the product or the generator."""

import collections
import itertools

from oracle import BEGIN_MS, splitmix64

GAP_MS = 10_000


def events(count, users, seed):
    numbers = splitmix64(seed)
    for i in range(count):
        late, user = itertools.islice(numbers, 2)
        yield user % users, BEGIN_MS + 2 * i + late % 3_000


def w3(count, users, seed):
    """Sorted [(user, number of events, time of the first, time of the last)] of the sessions."""
    times = collections.defaultdict(list)
    for user, time in events(count, users, seed):
        times[user].append(time)
    sessions = []
    for user, of_user in times.items():
        of_user.sort()
        begin = 0
        for i in range(1, len(of_user) + 1):
            if i == len(of_user) or of_user[i] - of_user[i - 1] > GAP_MS:
                sessions.append((user, i - begin, of_user[begin], of_user[i - 1]))
                begin = i
    return sorted(sessions)
