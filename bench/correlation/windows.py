#!/usr/bin/env python3
"""Workloads W3 (sessions) and W4 (hot items) in one process, compared with the brute-force oracles.

    windows.py PROGRAM [EVENTS] [SEED]      PROGRAM: build/<preset>/bench/windows_in_process

Exit code 1 when an answer is wrong."""

import subprocess
import sys

from oracle_w3 import w3
from oracle_w4 import w4

USERS = 20_000


def run(program, workload, events, seed):
    result = subprocess.run([program, workload, str(events), str(seed)], check=True, capture_output=True, text=True)
    return [line.split() for line in result.stdout.splitlines()], result.stderr.strip()


def main():
    program = sys.argv[1]
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 42
    lines, speed = run(program, "w3", events, seed)
    sessions = sorted(tuple(map(int, line)) for line in lines)
    same = sessions == w3(events, USERS, seed)
    print(f"w3: {len(sessions)} sessions, {'as' if same else 'NOT as'} the oracle; {speed}")
    lines, speed = run(program, "w4", events, seed)
    hot = sorted((int(line[0]), int(line[1]), tuple(sorted(map(int, line[2:])))) for line in lines)
    right = hot == w4(events, seed)
    print(f"w4: {len(hot)} windows, {'as' if right else 'NOT as'} the oracle; {speed}")
    return 0 if same and right else 1


if __name__ == "__main__":
    sys.exit(main())
