// Two Go clients of the registry as programs that answer a request per line of JSON on stdin with a line on stdout; the
// requests are those of clients.py. The argument says which client: confluent or franz.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

type request struct {
	Op           string            `json:"op"`
	Subject      *string           `json:"subject"`
	Schema       string            `json:"schema"`
	SchemaType   string            `json:"schema_type"`
	References   []reference       `json:"references"`
	Normalize    bool              `json:"normalize"`
	Version      int               `json:"version"`
	ID           int               `json:"id"`
	GUID         string            `json:"guid"`
	Level        string            `json:"level"`
	Mode         string            `json:"mode"`
	Force        bool              `json:"force"`
	Permanent    bool              `json:"permanent"`
	Deleted      bool              `json:"deleted"`
	Topic        string            `json:"topic"`
	Type         string            `json:"type"`
	Message      json.RawMessage   `json:"message"`
	Value        string            `json:"value"`
	Headers      map[string]string `json:"headers"`
	SchemaIDIn   string            `json:"schema_id_in"`
	AutoRegister *bool             `json:"auto_register"`
	UseLatest    bool              `json:"use_latest"`
}

func (r *request) subject() string {
	if r.Subject == nil {
		return ""
	}
	return *r.Subject
}

func (r *request) autoRegister() bool { return r.AutoRegister == nil || *r.AutoRegister }

type answer map[string]any

var unsupported = answer{"unsupported": true}

type operation func(*request) (answer, error)

// The messages of the test, as protoc compiled them.
type messages struct {
	files *protoregistry.Files
	types *dynamicpb.Types
}

func readMessages() (*messages, error) {
	bytes, err := os.ReadFile(os.Getenv("COMPAT_DESCRIPTORS"))
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(bytes, &set); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, err
	}
	return &messages{files: files, types: dynamicpb.NewTypes(files)}, nil
}

func (m *messages) make(name string) (proto.Message, error) {
	kind, err := m.types.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}

func (m *messages) fromJSON(name string, text []byte) (proto.Message, error) {
	message, err := m.make(name)
	if err != nil {
		return nil, err
	}
	return message, protojson.UnmarshalOptions{Resolver: m.types}.Unmarshal(text, message)
}

func (m *messages) toJSON(message proto.Message) (answer, error) {
	text, err := protojson.MarshalOptions{Resolver: m.types}.Marshal(message)
	return answer{"message": json.RawMessage(text)}, err
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("say which client: confluent or franz")
	}
	known, err := readMessages()
	if err != nil {
		return err
	}
	var operations map[string]operation
	var failure func(error) answer
	switch os.Args[1] {
	case "confluent":
		operations, failure, err = confluentClient(known)
	case "franz":
		operations, failure, err = franzClient(known)
	default:
		err = fmt.Errorf("there is no client %q", os.Args[1])
	}
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var one request
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return err
		}
		said := unsupported
		if ask, ok := operations[one.Op]; ok {
			if said, err = ask(&one); err != nil {
				said = failure(err)
			}
		}
		if err := out.Encode(said); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "registry-clients:", err)
		os.Exit(1)
	}
}
