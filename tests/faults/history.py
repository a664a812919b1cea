"""What lies on the topics after a trial, as plain data that can be stored, copied and looked at: read with both isolation
levels by a client that shares nothing with the product (confluent-kafka), its messages decoded here."""

import time

STREAM = "faults.events"
# The header of records that were made to be refused.
POISON = "test.poison"
OUTPUTS = ("detections", "incidents.correlated", f"{STREAM}.dlq",
           "correlation-faults.events-by-place-repartition")


def fields(data):
    """(number, value) of each field of a Protobuf message: an int, or bytes."""
    at = 0

    def varint():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
        elif kind == 2:
            length = varint()
            yield tag >> 3, data[at:at + length]
            at += length
        else:
            size = 8 if kind == 1 else 4
            yield tag >> 3, data[at:at + size]
            at += size


def text(data):
    return data.decode()


def decode_detection(data):
    detection = {"group_key": [], "evidence": []}
    for number, value in fields(data):
        if number == 1:
            detection["id"] = text(value)
        elif number == 2:
            detection["rule"] = text(value)
        elif number == 5:
            detection["group_key"].append(text(value))
        elif number == 10:
            detection["evidence"].append(text(dict(fields(value))[5]))
        elif number == 11:
            detection["incident"] = text(value)
    return detection


def decode_incident(data):
    incident = {"detections": []}
    for number, value in fields(data):
        if number == 1:
            incident["id"] = text(value)
        elif number == 2:
            incident["revision"] = value
        elif number == 10:
            incident["detections"].append(text(value))
    return incident


def decode_event(data):
    names = {1: "number", 2: "key", 3: "place", 4: "kind"}
    return {names[number]: value if number == 1 else text(value) for number, value in fields(data)}


DECODERS = {"detections": decode_detection, "incidents.correlated": decode_incident, STREAM: decode_event}


def read(system, topic, isolation):
    """The records of a topic as dictionaries, partition by partition in the order of their offsets."""
    consumer = system.consumer(group="history", isolation=isolation)
    try:
        parts = system.partitions(topic)
        for part in parts:
            part.offset = 0
        consumer.assign(parts)
        waiting = {part.partition for part in parts}
        records = []
        last = time.monotonic()
        while waiting:
            messages = consumer.consume(5_000, timeout=0.1)
            if messages:
                last = time.monotonic()
            elif time.monotonic() > last + 30:
                raise AssertionError(f"{topic}, {isolation}: no end comes; open are partitions {sorted(waiting)}")
            for message in messages:
                if message.error():
                    waiting.discard(message.partition())
                    continue
                headers = {name: value.decode(errors="replace") for name, value in message.headers() or []
                           if value is not None and name.startswith(("ce_", "tocsin.tr", "tocsin.in", "tocsin.kind",
                                                                     "dlq.", "test."))}
                record = {"partition": message.partition(), "offset": message.offset(),
                          "key": message.key().decode() if message.key() else None, "headers": headers}
                if topic in DECODERS and POISON not in headers:
                    record["value"] = DECODERS[topic](message.value()[6:])
                records.append(record)
        records.sort(key=lambda record: (record["partition"], record["offset"]))
        return records
    finally:
        consumer.close()


def take(system, group):
    """The whole history of a trial."""
    topics = [topic for topic in OUTPUTS if topic in system.kafka_admin.list_topics(timeout=10).topics]
    reader = system.consumer(group=group, isolation="read_uncommitted")
    committed = {str(part.partition): part.offset
                 for part in reader.committed(system.partitions(STREAM), timeout=30)}
    reader.close()
    return {"input": read(system, STREAM, "read_committed"),
            "end": {str(partition): end for partition, end in system.end_offsets(STREAM).items()},
            "committed_offsets": committed,
            "outputs": {topic: read(system, topic, "read_committed") for topic in topics},
            "uncommitted": {topic: read(system, topic, "read_uncommitted") for topic in topics}}
