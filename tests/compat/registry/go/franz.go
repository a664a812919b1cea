package main

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// franz-go/pkg/sr: an HTTP client, and the header in front of the bytes. It derives no schema from a message, so this
// program registers the text of the message's file itself.
type franz struct {
	known    *messages
	registry *sr.Client
}

func franzFailure(err error) answer {
	said := answer{"error": err.Error()}
	var refused *sr.ResponseError
	if errors.As(err, &refused) {
		said["code"] = refused.ErrorCode
		said["status"] = refused.StatusCode
	}
	return said
}

func franzContext(r *request) context.Context {
	var params []sr.Param
	if r.Normalize {
		params = append(params, sr.Normalize)
	}
	if r.Deleted {
		params = append(params, sr.ShowDeleted)
	}
	if r.Force {
		params = append(params, sr.Force)
	}
	return sr.WithParams(context.Background(), params...)
}

func franzSchema(r *request) (sr.Schema, error) {
	schema := sr.Schema{Schema: r.Schema, Type: sr.TypeProtobuf}
	if r.SchemaType != "" {
		if err := schema.Type.UnmarshalText([]byte(r.SchemaType)); err != nil {
			return schema, err
		}
	}
	for _, one := range r.References {
		schema.References = append(schema.References,
			sr.SchemaReference{Name: one.Name, Subject: one.Subject, Version: one.Version})
	}
	return schema, nil
}

func franzVersion(found sr.SubjectSchema) answer {
	references := []reference{}
	for _, one := range found.References {
		references = append(references, reference{Name: one.Name, Subject: one.Subject, Version: one.Version})
	}
	return answer{"id": found.ID, "subject": found.Subject, "version": found.Version, "schema": found.Schema.Schema,
		"references": references}
}

// The path of a message in its file, from the top.
func indexOf(message protoreflect.MessageDescriptor) []int {
	if parent, ok := message.Parent().(protoreflect.MessageDescriptor); ok {
		return append(indexOf(parent), message.Index())
	}
	return []int{message.Index()}
}

func messageAt(file protoreflect.FileDescriptor, index []int) (protoreflect.MessageDescriptor, error) {
	within := file.Messages()
	for depth, one := range index {
		if one < 0 || one >= within.Len() {
			break
		}
		if depth == len(index)-1 {
			return within.Get(one), nil
		}
		within = within.Get(one).Messages()
	}
	return nil, errors.New("the message index points at nothing")
}

func (f *franz) registerFile(file protoreflect.FileDescriptor, subject string) (sr.SubjectSchema, error) {
	text, err := os.ReadFile(os.Getenv("COMPAT_PROTOS") + "/" + file.Path())
	if err != nil {
		return sr.SubjectSchema{}, err
	}
	schema := sr.Schema{Schema: string(text), Type: sr.TypeProtobuf}
	for i := 0; i < file.Imports().Len(); i++ {
		imported := file.Imports().Get(i).FileDescriptor
		if imported.Package() == "google.protobuf" {
			continue
		}
		base, err := f.registerFile(imported, imported.Path())
		if err != nil {
			return sr.SubjectSchema{}, err
		}
		schema.References = append(schema.References,
			sr.SchemaReference{Name: imported.Path(), Subject: base.Subject, Version: base.Version})
	}
	return f.registry.CreateSchema(context.Background(), subject, schema)
}

func (f *franz) encode(r *request) (answer, error) {
	if r.SchemaIDIn == "header" {
		return unsupported, nil
	}
	message, err := f.known.fromJSON(r.Type, r.Message)
	if err != nil {
		return nil, err
	}
	kind := message.ProtoReflect().Descriptor()
	var schema sr.SubjectSchema
	if r.autoRegister() {
		schema, err = f.registerFile(kind.ParentFile(), r.Topic+"-value")
	} else {
		schema, err = f.registry.SchemaByVersion(context.Background(), r.Topic+"-value", -1)
	}
	if err != nil {
		return nil, err
	}
	value, err := sr.Encode(message, new(sr.ConfluentHeader), schema.ID, indexOf(kind),
		func(one any) ([]byte, error) { return proto.Marshal(one.(proto.Message)) })
	return answer{"value": hex.EncodeToString(value)}, err
}

func (f *franz) decode(r *request) (answer, error) {
	if len(r.Headers) > 0 {
		return unsupported, nil
	}
	value, err := hex.DecodeString(r.Value)
	if err != nil {
		return nil, err
	}
	var header sr.ConfluentHeader
	id, rest, err := header.DecodeID(value)
	if err != nil {
		return nil, err
	}
	if _, err := f.registry.SchemaByID(context.Background(), id); err != nil {
		return nil, err
	}
	index, rest, err := header.DecodeIndex(rest, 8)
	if err != nil {
		return nil, err
	}
	file, err := f.known.files.FindFileByPath("compat/v1/order.proto")
	if err != nil {
		return nil, err
	}
	kind, err := messageAt(file, index)
	if err != nil {
		return nil, err
	}
	message, err := f.known.make(string(kind.FullName()))
	if err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(rest, message); err != nil {
		return nil, err
	}
	return f.known.toJSON(message)
}

func (f *franz) operations() map[string]operation {
	register := func(r *request) (answer, error) {
		schema, err := franzSchema(r)
		if err != nil {
			return nil, err
		}
		found, err := f.registry.CreateSchema(franzContext(r), r.subject(), schema)
		if err != nil && strings.HasPrefix(r.subject(), ":.") {
			// CreateSchema reads what it has registered by the id alone: with every registry that is an id of the
			// default context.
			found, err = f.registry.LookupSchema(franzContext(r), r.subject(), schema)
		}
		return franzVersion(found), err
	}
	level := func(results []sr.CompatibilityResult) (answer, error) {
		return answer{"level": results[0].Level.String()}, results[0].Err
	}
	mode := func(results []sr.ModeResult) (answer, error) {
		return answer{"mode": results[0].Mode.String()}, results[0].Err
	}
	return map[string]operation{
		"encode":   f.encode,
		"decode":   f.decode,
		"register": register,
		"lookup": func(r *request) (answer, error) {
			schema, err := franzSchema(r)
			if err != nil {
				return nil, err
			}
			found, err := f.registry.LookupSchema(franzContext(r), r.subject(), schema)
			return franzVersion(found), err
		},
		"by_id": func(r *request) (answer, error) {
			ctx := context.Background()
			if r.Subject != nil {
				ctx = sr.WithParams(ctx, sr.Subject(r.subject()))
			}
			found, err := f.registry.SchemaByID(ctx, r.ID)
			return answer{"schema": found.Schema}, err
		},
		"latest": func(r *request) (answer, error) {
			found, err := f.registry.SchemaByVersion(franzContext(r), r.subject(), -1)
			return franzVersion(found), err
		},
		"version": func(r *request) (answer, error) {
			found, err := f.registry.SchemaByVersion(franzContext(r), r.subject(), r.Version)
			return franzVersion(found), err
		},
		"versions": func(r *request) (answer, error) {
			versions, err := f.registry.SubjectVersions(franzContext(r), r.subject())
			return answer{"versions": versions}, err
		},
		"subjects": func(r *request) (answer, error) {
			subjects, err := f.registry.Subjects(franzContext(r))
			return answer{"subjects": subjects}, err
		},
		"subjects_of": func(r *request) (answer, error) {
			subjects, err := f.registry.SubjectsByID(franzContext(r), r.ID)
			return answer{"subjects": subjects}, err
		},
		"referenced_by": func(r *request) (answer, error) {
			users, err := f.registry.SchemaReferences(franzContext(r), r.subject(), r.Version)
			ids := []int{}
			for _, one := range users {
				ids = append(ids, one.ID)
			}
			return answer{"ids": ids}, err
		},
		"types": func(r *request) (answer, error) {
			types, err := f.registry.SupportedTypes(franzContext(r))
			names := []string{}
			for _, one := range types {
				names = append(names, one.String())
			}
			return answer{"types": names}, err
		},
		"compatible": func(r *request) (answer, error) {
			schema, err := franzSchema(r)
			if err != nil {
				return nil, err
			}
			checked, err := f.registry.CheckCompatibility(franzContext(r), r.subject(), -1, schema)
			return answer{"compatible": checked.Is}, err
		},
		"delete_subject": func(r *request) (answer, error) {
			versions, err := f.registry.DeleteSubject(franzContext(r), r.subject(), sr.DeleteHow(r.Permanent))
			return answer{"versions": versions}, err
		},
		"delete_version": func(r *request) (answer, error) {
			err := f.registry.DeleteSchema(franzContext(r), r.subject(), r.Version, sr.DeleteHow(r.Permanent))
			return answer{"version": r.Version}, err
		},
		"get_config": func(r *request) (answer, error) {
			return level(f.registry.Compatibility(franzContext(r), r.subject()))
		},
		"set_config": func(r *request) (answer, error) {
			var set sr.SetCompatibility
			if err := set.Level.UnmarshalText([]byte(r.Level)); err != nil {
				return nil, err
			}
			return level(f.registry.SetCompatibility(franzContext(r), set, r.subject()))
		},
		"delete_config": func(r *request) (answer, error) {
			// What was set is not told: the client looks for it under "compatibility", and registries answer with
			// "compatibilityLevel".
			_, err := level(f.registry.ResetCompatibility(franzContext(r), r.subject()))
			return answer{}, err
		},
		"get_mode": func(r *request) (answer, error) { return mode(f.registry.Mode(franzContext(r), r.subject())) },
		"set_mode": func(r *request) (answer, error) {
			var set sr.Mode
			if err := set.UnmarshalText([]byte(r.Mode)); err != nil {
				return nil, err
			}
			return mode(f.registry.SetMode(franzContext(r), set, r.subject()))
		},
		"delete_mode": func(r *request) (answer, error) {
			return mode(f.registry.ResetMode(franzContext(r), r.subject()))
		},
	}
}

func franzClient(known *messages) (map[string]operation, func(error) answer, error) {
	registry, err := sr.NewClient(sr.URLs(os.Getenv("COMPAT_URL")), sr.BasicAuth("anybody", os.Getenv("COMPAT_TOKEN")))
	if err != nil {
		return nil, nil, err
	}
	client := &franz{known: known, registry: registry}
	return client.operations(), franzFailure, nil
}
