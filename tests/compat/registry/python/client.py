"""confluent-kafka (Python) as a program: a request per line of JSON on stdin, an answer per line on stdout.

The requests are those of clients.py, which starts this under the interpreter that the package is installed for.
"""

import json
import os
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic,
                                   ResourceType)
from confluent_kafka.schema_registry import (Schema, SchemaReference, SchemaRegistryClient, header_schema_id_serializer,
                                             prefix_schema_id_serializer)
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.schema_registry.schema_registry_client import ConfigCompatibilityLevel, ServerConfig
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

pool = descriptor_pool.DescriptorPool()
files = descriptor_pb2.FileDescriptorSet.FromString(open(os.environ["COMPAT_DESCRIPTORS"], "rb").read())
for file in files.file:
    pool.Add(file)
registry = SchemaRegistryClient({"url": os.environ["COMPAT_URL"],
                                 "basic.auth.user.info": "anybody:" + os.environ["COMPAT_TOKEN"]})
encoders, decoders = {}, {}


def message_class(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def schema_of(request):
    references = [SchemaReference(one["name"], one["subject"], one["version"])
                  for one in request.get("references", [])]
    return Schema(request["schema"], request.get("schema_type", "PROTOBUF"), references)


def version_of(registered):
    return {"subject": registered.subject, "version": registered.version, "id": registered.schema_id,
            "guid": registered.guid, "schema": registered.schema.schema_str,
            "references": [{"name": one.name, "subject": one.subject, "version": one.version}
                           for one in registered.schema.references or []]}


def encode(request):
    header = request.get("schema_id_in", "prefix") == "header"
    options = {"auto.register.schemas": request.get("auto_register", True),
               "use.latest.version": request.get("use_latest", False),
               "normalize.schemas": request.get("normalize", False),
               "schema.id.serializer": header_schema_id_serializer if header else prefix_schema_id_serializer}
    kind = message_class(request["type"])
    key = (request["type"], tuple(sorted((name, str(value)) for name, value in options.items())))
    if key not in encoders:
        encoders[key] = ProtobufSerializer(kind, registry, options)
    context = SerializationContext(request["topic"], MessageField.VALUE, headers=[])
    value = encoders[key](json_format.ParseDict(request["message"], kind()), context)
    return {"value": value.hex(), "headers": {name: value.hex() for name, value in context.headers}}


def decode(request):
    kind = message_class(request["type"])
    if request["type"] not in decoders:
        decoders[request["type"]] = ProtobufDeserializer(kind, schema_registry_client=registry)
    headers = [(name, bytes.fromhex(value)) for name, value in request.get("headers", {}).items()]
    message = decoders[request["type"]](bytes.fromhex(request["value"]),
                                        SerializationContext(request["topic"], MessageField.VALUE, headers=headers))
    return {"message": json_format.MessageToDict(message)}


def create_topic(request):
    """One partition."""
    admin = AdminClient({"bootstrap.servers": os.environ["COMPAT_KAFKA"]})
    topic = NewTopic(request["topic"], 1, 1, config=request.get("config", {}))
    admin.create_topics([topic], operation_timeout=30)[request["topic"]].result(30)
    return {}


def configure_topic(request):
    admin = AdminClient({"bootstrap.servers": os.environ["COMPAT_KAFKA"]})
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
               for name, value in request["config"].items()]
    resource = ConfigResource(ResourceType.TOPIC, request["topic"], incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(30)
    return {}


def produce(request):
    producer = Producer({"bootstrap.servers": os.environ["COMPAT_KAFKA"], "acks": "all"})
    failed = []
    for record in request["records"]:
        key, value = record.get("key"), record.get("value")
        producer.produce(request["topic"], key=bytes.fromhex(key) if key is not None else None,
                         value=bytes.fromhex(value) if value is not None else None,
                         headers=[(name, bytes.fromhex(text)) for name, text in record.get("headers", {}).items()],
                         on_delivery=lambda error, message: failed.append(str(error)) if error else None)
        producer.poll(0)
    if producer.flush(30) or failed:
        raise RuntimeError(f"not all was delivered: {failed[:3]}")
    return {}


def consume(request):
    """Everything in partition 0 of a topic, from the beginning to the end."""
    consumer = Consumer({"bootstrap.servers": os.environ["COMPAT_KAFKA"], "group.id": "compat",
                         "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([TopicPartition(request["topic"], 0, 0)])
    records = []
    try:
        while True:
            message = consumer.poll(30)
            if message is None:
                raise RuntimeError("nothing came for 30 s")
            if message.error():
                if message.error().name() == "_PARTITION_EOF":
                    return {"records": records}
                raise RuntimeError(str(message.error()))
            records.append({"offset": message.offset(),
                            "key": message.key().hex() if message.key() is not None else None,
                            "value": message.value().hex() if message.value() is not None else None,
                            "headers": {name: value.hex() for name, value in message.headers() or []}})
    finally:
        consumer.close()


def config_of(config):
    if isinstance(config, dict):  # what a deletion gives
        return {"level": config.get("compatibilityLevel") or config.get("compatibility")}
    level = config.compatibility_level or config.compatibility
    return {"level": getattr(level, "value", level)}


OPERATIONS = {
    "encode": encode,
    "decode": decode,
    "create_topic": create_topic,
    "configure_topic": configure_topic,
    "produce": produce,
    "consume": consume,
    "register": lambda r: {"id": registry.register_schema(r["subject"], schema_of(r), r.get("normalize", False))},
    "register_full": lambda r: version_of(
        registry.register_schema_full_response(r["subject"], schema_of(r), r.get("normalize", False))),
    "lookup": lambda r: version_of(registry.lookup_schema(r["subject"], schema_of(r), r.get("normalize", False),
                                                          deleted=r.get("deleted", False))),
    "by_id": lambda r: {"schema": registry.get_schema(r["id"], r.get("subject")).schema_str},
    "by_guid": lambda r: {"schema": registry.get_schema_by_guid(r["guid"]).schema_str},
    "latest": lambda r: version_of(registry.get_latest_version(r["subject"])),
    "version": lambda r: version_of(registry.get_version(r["subject"], r["version"], r.get("deleted", False))),
    "versions": lambda r: {"versions": registry.get_versions(r["subject"])},
    "subjects": lambda r: {"subjects": registry.get_subjects()},
    "subjects_of": lambda r: {"subjects": registry.get_subjects_by_schema_id(r["id"])},
    "referenced_by": lambda r: {"ids": registry.get_referenced_by(r["subject"], r["version"])},
    "types": lambda r: {"types": registry.get_schema_types()},
    "compatible": lambda r: {"compatible": registry.test_compatibility(r["subject"], schema_of(r),
                                                                       r.get("version", "latest"))},
    "delete_subject": lambda r: {"versions": registry.delete_subject(r["subject"], r.get("permanent", False))},
    "delete_version": lambda r: {"version": registry.delete_version(r["subject"], r["version"],
                                                                    r.get("permanent", False))},
    "get_config": lambda r: config_of(registry.get_config(r.get("subject"))),
    "set_config": lambda r: config_of(registry.set_config(r.get("subject"), ServerConfig(
        compatibility=ConfigCompatibilityLevel(r["level"])))),
    "delete_config": lambda r: config_of(registry.delete_config(r.get("subject"))),
    "get_mode": lambda r: {"mode": registry.get_mode(r["subject"])},
    "set_mode": lambda r: {"mode": registry.update_mode(r["subject"], r["mode"], r.get("force", False))},
    "delete_mode": lambda r: {"mode": registry.delete_mode(r["subject"])},
    "contexts": lambda r: {"contexts": registry.get_contexts()},
}


def answer(request):
    if request["op"] not in OPERATIONS:
        return {"unsupported": True}
    try:
        return OPERATIONS[request["op"]](request)
    except SchemaRegistryError as error:
        return {"error": error.error_message, "status": error.http_status_code, "code": error.error_code}
    except Exception as error:  # pylint: disable=broad-except  (the test says what it expected)
        cause = error.__cause__ or error.__context__
        return {"error": f"{type(error).__name__}: {error}", "cause": repr(cause) if cause else None}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
