#!/usr/bin/env python3
"""Takes a dead broker's log back to the moment between the decision of its last transactions and their markers.

    interrupt_commit.py DATA_DIR

A coordinator first writes the decision (PrepareCommit or PrepareAbort) to __transaction_state, then a marker to every
partition of the transaction, then that it is complete. A kill hits the moment between the first two seldom; this cuts
what comes after the decision off the ends of the segments, for every transaction that was the last one of its
partitions. The broker's recovery sees what it would have seen after such a kill.

The layout of a record batch: https://kafka.apache.org/documentation/#recordbatch
"""

import pathlib
import struct
import sys

HEADER = struct.Struct(">qiibIhiqqqhii")  # base offset … number of records
CONTROL = 0x20
COMPLETE = (4, 5)  # CompleteCommit, CompleteAbort


def fail(message):
    sys.exit(f"interrupt_commit.py: {message}")


def last_batch(segment):
    """(where it begins, attributes, its records) of a segment's last batch; None where there is none."""
    data = segment.read_bytes()
    at, found = 0, None
    while at + HEADER.size <= len(data):
        fields = HEADER.unpack_from(data, at)
        end = at + 12 + fields[1]  # the length counts from behind itself
        if fields[1] <= 0 or end > len(data):
            break
        found = (at, fields[5], data[at + HEADER.size:end])
        at = end
    return found


def varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at


def state_of(records):
    """The state of the transaction that the first record of a batch of __transaction_state tells."""
    _, at = varint(records, 0)  # length
    at += 1  # attributes
    for _ in range(2):  # timestamp delta, offset delta
        _, at = varint(records, at)
    key_length, at = varint(records, at)
    at += max(key_length, 0)
    value_length, at = varint(records, at)
    if value_length < 15:
        return None
    _version, _producer, _epoch, _timeout, state = struct.unpack_from(">hqhib", records, at)
    return state


def segments(data, pattern):
    return sorted(segment for folder in data.glob(pattern) for segment in folder.glob("*.log"))


def cut(segment, at):
    with open(segment, "r+b") as file:
        file.truncate(at)


def main():
    if len(sys.argv) != 2:
        fail("usage: interrupt_commit.py DATA_DIR")
    data = pathlib.Path(sys.argv[1])
    decided, unmarked = 0, 0
    for segment in segments(data, "__transaction_state-*"):
        last = last_batch(segment)
        if last is not None and state_of(last[2]) in COMPLETE:
            cut(segment, last[0])
            decided += 1
    for segment in segments(data, "*-*"):
        if segment.parent.name.startswith(("__transaction_state-", "__cluster_metadata-")):
            continue
        last = last_batch(segment)
        if last is not None and last[1] & CONTROL:
            cut(segment, last[0])
            unmarked += 1
    if decided == 0 or unmarked == 0:
        fail(f"nothing to interrupt in {data}: {decided} complete transactions, {unmarked} markers at an end")
    print(f"{decided} transactions are decided and not complete, {unmarked} partitions wait for their marker")


if __name__ == "__main__":
    main()
