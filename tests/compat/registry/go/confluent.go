package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/rest"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde/protobuf"
	"google.golang.org/protobuf/proto"
)

// confluent-kafka-go/v2.
type confluent struct {
	known    *messages
	registry schemaregistry.Client
	encoders map[string]*protobuf.Serializer
	decoder  *protobuf.Deserializer
}

func confluentFailure(err error) answer {
	said := answer{"error": err.Error()}
	var refused *rest.Error
	if errors.As(err, &refused) {
		said["code"] = refused.Code
		// The client keeps the code alone; its first three digits are the status.
		said["status"] = refused.Code
		for status := refused.Code; status >= 100; status /= 10 {
			said["status"] = status
		}
	}
	return said
}

func (c *confluent) schemaOf(r *request) schemaregistry.SchemaInfo {
	info := schemaregistry.SchemaInfo{Schema: r.Schema, SchemaType: "PROTOBUF"}
	if r.SchemaType != "" {
		info.SchemaType = r.SchemaType
	}
	for _, one := range r.References {
		info.References = append(info.References,
			schemaregistry.Reference{Name: one.Name, Subject: one.Subject, Version: one.Version})
	}
	return info
}

func confluentVersion(found schemaregistry.SchemaMetadata) answer {
	references := []reference{}
	for _, one := range found.References {
		references = append(references, reference{Name: one.Name, Subject: one.Subject, Version: one.Version})
	}
	return answer{"id": found.ID, "guid": found.GUID, "subject": found.Subject, "version": found.Version,
		"schema": found.Schema, "references": references}
}

func (c *confluent) encode(r *request) (answer, error) {
	key := fmt.Sprint(r.autoRegister(), r.UseLatest, r.Normalize, r.SchemaIDIn)
	encoder, ok := c.encoders[key]
	if !ok {
		config := protobuf.NewSerializerConfig()
		config.AutoRegisterSchemas = r.autoRegister()
		config.UseLatestVersion = r.UseLatest
		config.NormalizeSchemas = r.Normalize
		var err error
		if encoder, err = protobuf.NewSerializer(c.registry, serde.ValueSerde, config); err != nil {
			return nil, err
		}
		if r.SchemaIDIn == "header" {
			encoder.SchemaIDSerializer = serde.HeaderSchemaIDSerializer
		}
		c.encoders[key] = encoder
	}
	message, err := c.known.fromJSON(r.Type, r.Message)
	if err != nil {
		return nil, err
	}
	headers, value, err := encoder.SerializeWithHeaders(r.Topic, message)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, one := range headers {
		texts[one.Key] = hex.EncodeToString(one.Value)
	}
	return answer{"value": hex.EncodeToString(value), "headers": texts}, nil
}

func (c *confluent) decode(r *request) (answer, error) {
	if c.decoder == nil {
		decoder, err := protobuf.NewDeserializer(c.registry, serde.ValueSerde, protobuf.NewDeserializerConfig())
		if err != nil {
			return nil, err
		}
		// By the name that the schema in the registry gives, not by what the test expects.
		decoder.MessageFactory = func(_, name string) (any, error) { return c.known.make(name) }
		c.decoder = decoder
	}
	value, err := hex.DecodeString(r.Value)
	if err != nil {
		return nil, err
	}
	var headers []kafka.Header
	for name, text := range r.Headers {
		bytes, err := hex.DecodeString(text)
		if err != nil {
			return nil, err
		}
		headers = append(headers, kafka.Header{Key: name, Value: bytes})
	}
	message, err := c.decoder.DeserializeWithHeaders(r.Topic, headers, value)
	if err != nil {
		return nil, err
	}
	return c.known.toJSON(message.(proto.Message))
}

func (c *confluent) operations() map[string]operation {
	version := func(found schemaregistry.SchemaMetadata, err error) (answer, error) {
		return confluentVersion(found), err
	}
	level := func(config schemaregistry.ServerConfig, err error) (answer, error) {
		given := config.CompatibilityLevel.String()
		if config.CompatibilityLevel == 0 {
			given = config.CompatibilityUpdate.String()
		}
		return answer{"level": given}, err
	}
	return map[string]operation{
		"encode": c.encode,
		"decode": c.decode,
		"register": func(r *request) (answer, error) {
			id, err := c.registry.Register(r.subject(), c.schemaOf(r), r.Normalize)
			return answer{"id": id}, err
		},
		"register_full": func(r *request) (answer, error) {
			return version(c.registry.RegisterFullResponse(r.subject(), c.schemaOf(r), r.Normalize))
		},
		"lookup": func(r *request) (answer, error) {
			return version(c.registry.GetIDFullResponse(r.subject(), c.schemaOf(r), r.Normalize))
		},
		"by_id": func(r *request) (answer, error) {
			found, err := c.registry.GetBySubjectAndID(r.subject(), r.ID)
			return answer{"schema": found.Schema}, err
		},
		"by_guid": func(r *request) (answer, error) {
			found, err := c.registry.GetByGUID(r.GUID)
			return answer{"schema": found.Schema}, err
		},
		"latest": func(r *request) (answer, error) { return version(c.registry.GetLatestSchemaMetadata(r.subject())) },
		"version": func(r *request) (answer, error) {
			return version(c.registry.GetSchemaMetadataIncludeDeleted(r.subject(), r.Version, r.Deleted))
		},
		"versions": func(r *request) (answer, error) {
			versions, err := c.registry.GetAllVersions(r.subject())
			return answer{"versions": versions}, err
		},
		"subjects": func(*request) (answer, error) {
			subjects, err := c.registry.GetAllSubjects()
			return answer{"subjects": subjects}, err
		},
		"compatible": func(r *request) (answer, error) {
			compatible, err := c.registry.TestSubjectCompatibility(r.subject(), c.schemaOf(r))
			return answer{"compatible": compatible}, err
		},
		"delete_subject": func(r *request) (answer, error) {
			versions, err := c.registry.DeleteSubject(r.subject(), r.Permanent)
			return answer{"versions": versions}, err
		},
		"delete_version": func(r *request) (answer, error) {
			deleted, err := c.registry.DeleteSubjectVersion(r.subject(), r.Version, r.Permanent)
			return answer{"version": deleted}, err
		},
		"get_config": func(r *request) (answer, error) {
			if r.Subject == nil {
				return level(c.registry.GetDefaultConfig())
			}
			return level(c.registry.GetConfig(r.subject(), false))
		},
		"set_config": func(r *request) (answer, error) {
			var update schemaregistry.Compatibility
			if err := update.ParseString(r.Level); err != nil {
				return nil, err
			}
			set, err := c.registry.UpdateCompatibility(r.subject(), update)
			return answer{"level": set.String()}, err
		},
		"contexts": func(*request) (answer, error) {
			contexts, err := c.registry.GetAllContexts()
			return answer{"contexts": contexts}, err
		},
	}
}

func confluentClient(known *messages) (map[string]operation, func(error) answer, error) {
	registry, err := schemaregistry.NewClient(schemaregistry.NewConfigWithBasicAuthentication(
		os.Getenv("COMPAT_URL"), "anybody", os.Getenv("COMPAT_TOKEN")))
	if err != nil {
		return nil, nil, err
	}
	client := &confluent{known: known, registry: registry, encoders: map[string]*protobuf.Serializer{}}
	return client.operations(), confluentFailure, nil
}
