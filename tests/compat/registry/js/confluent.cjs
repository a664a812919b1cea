// @confluentinc/schemaregistry as a program; see lines.cjs.
'use strict';

const sr = require('@confluentinc/schemaregistry');
const { createMutableRegistry, fromJson, toJson } = require('@bufbuild/protobuf');
const { answerLines, descriptors } = require('./lines.cjs');

const files = descriptors();
const types = createMutableRegistry(files);
const registry = new sr.SchemaRegistryClient({
  baseURLs: [process.env.COMPAT_URL],
  basicAuthCredentials: { credentialsSource: 'USER_INFO', userInfo: 'anybody:' + process.env.COMPAT_TOKEN },
});
const encoders = new Map();
let decoder;

function schemaOf(request) {
  return { schema: request.schema, schemaType: request.schema_type ?? 'PROTOBUF', references: request.references ?? [] };
}

function versionOf(registered) {
  return { ...registered, references: registered.references ?? [] };
}

async function encode(request) {
  const header = request.schema_id_in === 'header';
  const config = {
    autoRegisterSchemas: request.auto_register ?? true,
    useLatestVersion: request.use_latest ?? false,
    normalizeSchemas: request.normalize ?? false,
    schemaIdSerializer: header ? sr.HeaderSchemaIdSerializer : sr.PrefixSchemaIdSerializer,
    registry: types,
  };
  const key = JSON.stringify([config.autoRegisterSchemas, config.useLatestVersion, config.normalizeSchemas, header]);
  if (!encoders.has(key)) encoders.set(key, new sr.ProtobufSerializer(registry, sr.SerdeType.VALUE, config));
  const headers = {};
  const message = fromJson(files.getMessage(request.type), request.message);
  const value = await encoders.get(key).serialize(request.topic, message, headers);
  const hex = Object.entries(headers).map(([name, bytes]) => [name, Buffer.from(bytes).toString('hex')]);
  return { value: value.toString('hex'), headers: Object.fromEntries(hex) };
}

async function decode(request) {
  decoder ??= new sr.ProtobufDeserializer(registry, sr.SerdeType.VALUE, {});
  const headers = Object.entries(request.headers ?? {}).map(([name, hex]) => [name, Buffer.from(hex, 'hex')]);
  const message = await decoder.deserialize(request.topic, Buffer.from(request.value, 'hex'),
    Object.fromEntries(headers));
  return { message: toJson(files.getMessage(message.$typeName), message) };
}

answerLines({
  encode,
  decode,
  register: async (r) => ({ id: await registry.register(r.subject, schemaOf(r), r.normalize ?? false) }),
  register_full: async (r) => versionOf(
    await registry.registerFullResponse(r.subject, schemaOf(r), r.normalize ?? false)),
  lookup: async (r) => versionOf(await registry.getIdFullResponse(r.subject, schemaOf(r), r.normalize ?? false)),
  by_id: async (r) => ({ schema: (await registry.getBySubjectAndId(r.subject ?? '', r.id)).schema }),
  by_guid: async (r) => ({ schema: (await registry.getByGuid(r.guid)).schema }),
  latest: async (r) => versionOf(await registry.getLatestSchemaMetadata(r.subject)),
  version: async (r) => versionOf(await registry.getSchemaMetadata(r.subject, r.version, r.deleted ?? false)),
  versions: async (r) => ({ versions: await registry.getAllVersions(r.subject) }),
  subjects: async () => ({ subjects: await registry.getAllSubjects() }),
  compatible: async (r) => ({ compatible: await registry.testSubjectCompatibility(r.subject, schemaOf(r)) }),
  delete_subject: async (r) => ({ versions: await registry.deleteSubject(r.subject, r.permanent ?? false) }),
  delete_version: async (r) => ({
    version: await registry.deleteSubjectVersion(r.subject, r.version, r.permanent ?? false),
  }),
  get_config: async (r) => {
    const config = r.subject === undefined ? await registry.getDefaultConfig() : await registry.getConfig(r.subject);
    return { level: config.compatibilityLevel ?? config.compatibility };
  },
  set_config: async (r) => ({
    level: (await registry.updateConfig(r.subject, { compatibility: r.level })).compatibility,
  }),
}, (error) => ({ error: String(error.message ?? error), status: error.status, code: error.errorCode }));
