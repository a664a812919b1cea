// @kafkajs/confluent-schema-registry as a program; see lines.cjs.
//
// For Protobuf this client knows one message of a schema and writes no message index: it skips the zero bytes in front
// of what it reads. So it reads what others wrote of a schema's first message, and its own bytes nobody else can read.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { SchemaRegistry, SchemaType } = require('@kafkajs/confluent-schema-registry');
const { answerLines } = require('./lines.cjs');

const protos = path.join(__dirname, '..', 'proto');
// Those whose file imports nothing, with the file; what it makes of an import by a serializer is not of interest.
const alone = { 'compat.v1.Address': 'compat/v1/address.proto' };
const registry = new SchemaRegistry({
  host: process.env.COMPAT_URL,
  auth: { username: 'anybody', password: process.env.COMPAT_TOKEN },
  retry: { retries: 0 },
});

async function register(request) {
  const type = request.schema_type ?? 'PROTOBUF';
  if (type !== 'PROTOBUF' || request.normalize) return { unsupported: true };
  return registry.register({ type: SchemaType.PROTOBUF, schema: request.schema, references: request.references },
    { subject: request.subject });
}

async function encode(request) {
  if (!(request.type in alone) || request.schema_id_in === 'header') return { unsupported: true };
  const subject = request.topic + '-value';
  let id;
  if (request.auto_register === false) {
    id = await registry.getLatestSchemaId(subject);
  } else {
    const schema = fs.readFileSync(path.join(protos, alone[request.type]), 'utf8');
    ({ id } = await registry.register({ type: SchemaType.PROTOBUF, schema }, { subject }));
  }
  const { message } = await registry.getSchema(id);
  return { value: (await registry.encode(id, message.fromObject(request.message))).toString('hex') };
}

async function decode(request) {
  // Of a schema's first message, and written with its id in front.
  if (request.headers?.__value_schema_id || request.value.slice(10, 12) !== '00') return { unsupported: true };
  const message = await registry.decode(Buffer.from(request.value, 'hex'));
  return { message: message.constructor.toObject(message, { longs: String, enums: String }) };
}

answerLines({
  encode,
  decode,
  register,
  lookup: async (r) => (r.normalize ? { unsupported: true } : {
    id: await registry.getRegistryIdBySchema(r.subject, { type: SchemaType.PROTOBUF, schema: r.schema }),
  }),
  latest: async (r) => ({ id: await registry.getLatestSchemaId(r.subject) }),
  version: async (r) => ({ id: await registry.getRegistryId(r.subject, r.version) }),
}, (error) => ({ error: String(error.message ?? error), status: error.status }));
