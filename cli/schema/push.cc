// `tocsin schema push`: registers files, what is imported before what imports it.
#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "cli/calls.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/core/pack.h"
#include "cli/output.h"
#include "cli/schema/commands.h"
#include "cli/schema/registry_versions.h"
#include "cli/schema/text_source.h"
#include "lib/base/text.h"
#include "lib/schema/compiled_schema.h"
#include "lib/schema/source_tree.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using schema::v1::SchemaRegistryService;
using Stub = SchemaRegistryService::StubInterface;

struct Item {
  // As it is imported.
  std::string file;
  std::string subject;
  std::string text;
  std::vector<std::string> imports;
  // What checks it from where the user stands; empty: nothing but to push it.
  std::string check;
};

// A word of a command line, as a shell reads it back.
std::string ShellWord(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:+=@%,";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string CheckCommand(const ProtoPath& path, const Item& item) {
  const auto from_here = [](const std::filesystem::path& to) {
    std::error_code error;
    const std::filesystem::path near = std::filesystem::proximate(to, error);
    return ShellWord((error ? to : near).generic_string());
  };
  const std::filesystem::path file = path.root / item.file;
  std::string command = Concat("tocsin schema check ", from_here(file));
  // Imports are looked up from the file's own folder unless another one is named.
  if (file.parent_path() != path.root) command += Concat(" --root ", from_here(path.root));
  return Concat(command, " --subject ", ShellWord(item.subject));
}

// Depth first, so that each file stands behind those that it imports. Without circles: the files
// have been compiled.
void Order(const std::map<std::string, Item>& items, const std::string& file,
           std::set<std::string>& done, std::vector<Item>& ordered) {
  if (!done.insert(file).second) return;
  const Item& item = items.at(file);
  for (const std::string& import : item.imports) Order(items, import, done, ordered);
  ordered.push_back(item);
}

absl::StatusOr<std::map<std::string, std::string>> ReadAs(const std::vector<std::string>& as) {
  std::map<std::string, std::string> subjects;
  for (const std::string& each : as) {
    const std::size_t equals = each.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == each.size()) {
      return UsageError(
          Concat("--as: '", each, "' is not FILE=SUBJECT: --as common/types.proto=common-types"));
    }
    subjects[each.substr(0, equals)] = each.substr(equals + 1);
  }
  return subjects;
}

absl::StatusOr<std::vector<Item>> ItemsOf(const SchemaPushFlags& flags) {
  TOCSIN_ASSIGN_OR_RETURN(auto subjects, ReadAs(flags.as));
  TOCSIN_ASSIGN_OR_RETURN(const ProtoPath path, ResolveProtoPath(flags.path, flags.root));
  if (!path.is_file && !flags.subject.empty()) {
    return UsageError(Concat("--subject needs one file, and ", flags.path,
                             " is a folder: its files become subjects named as they are "
                             "imported, or by --as"));
  }
  if (!flags.subject.empty()) subjects[path.under] = flags.subject;
  const auto source = FolderSource(path.root);
  TOCSIN_ASSIGN_OR_RETURN(std::vector<std::string> names, source->List(path.under));
  std::erase_if(names, [](const std::string& name) { return schema::IsWellKnownImport(name); });
  if (names.empty()) return UsageError(Concat(flags.path, " holds no .proto file"));
  TOCSIN_ASSIGN_OR_RETURN(const auto texts, ReadWithImports(*source, names));
  // All of them, before the first is registered.
  const auto compiled = schema::CompileTree(texts);
  if (!compiled.ok()) {
    return InvalidArgument(
        Concat("the .proto files of ", path.root.string(), " do not compile:\n",
               Message(compiled.status()),
               "\nImports are looked up from there; --root names another folder."));
  }
  std::map<std::string, Item> items;
  for (const auto& [file, text] : texts) {
    Item item{file, subjects.contains(file) ? subjects.at(file) : file, text, {}, ""};
    item.check = CheckCommand(path, item);
    TOCSIN_ASSIGN_OR_RETURN(const auto imports, schema::ImportsOf({file, text}));
    for (const std::string& import : imports) {
      if (texts.contains(import)) item.imports.push_back(import);
    }
    items.emplace(file, std::move(item));
  }
  for (const auto& [file, subject] : subjects) {
    if (!items.contains(file)) {
      return UsageError(Concat("--as: ", file, " is not among the files; names are paths from ",
                               path.root.string()));
    }
  }
  std::vector<Item> ordered;
  std::set<std::string> done;
  for (const std::string& name : names) Order(items, name, done, ordered);
  return ordered;
}

absl::StatusOr<std::vector<Item>> ItemsOfPack(const Session& session, const std::string& name) {
  TOCSIN_ASSIGN_OR_RETURN(const LoadedPack pack, LoadPack(name, session.packs_dir()));
  std::vector<Item> items;
  for (const auto& stream : pack.pack.streams()) {
    TOCSIN_ASSIGN_OR_RETURN(StreamSchema schema, LoadStreamSchema(pack, stream));
    items.push_back(
        {stream.topic(), Concat(stream.topic(), "-value"), std::move(schema.text), {}, ""});
  }
  for (const auto& table : pack.pack.tables()) {
    TOCSIN_ASSIGN_OR_RETURN(StreamSchema schema, LoadTableSchema(pack, table));
    items.push_back(
        {table.topic(), Concat(table.topic(), "-value"), std::move(schema.text), {}, ""});
  }
  return items;
}

// References to what was pushed, or found, before. False: one of them is not registered yet.
template <typename Request>
bool Fill(const Item& item, const std::map<std::string, schema::v1::Reference>& known,
          Request& request) {
  request.set_subject(item.subject);
  request.set_text(item.text);
  for (const std::string& import : item.imports) {
    const auto found = known.find(import);
    if (found == known.end()) return false;
    *request.add_references() = found->second;
  }
  return true;
}

schema::v1::Reference ReferenceTo(const Item& item, const schema::v1::Schema& schema) {
  schema::v1::Reference reference;
  reference.set_name(item.file);
  reference.set_subject(item.subject);
  reference.set_version(schema.version());
  return reference;
}

// What a push would do with each: in words, and whether the registry would take it.
absl::StatusOr<int> Rehearse(const Session& session, const std::vector<Item>& items,
                             bool normalize) {
  std::map<std::string, schema::v1::Reference> known;
  ListPrinter printer(session.flags().output, {"SUBJECT", "FILE", "WHAT"}, Print);
  int refused = 0;
  for (const Item& item : items) {
    std::string what;
    schema::v1::LookupSchemaRequest lookup;
    lookup.set_normalize(normalize);
    const bool complete = Fill(item, known, lookup);
    if (!complete) {
      // What it imports has no version yet that a check could name.
      const auto versions = FetchVersionNumbers(session, item.subject);
      if (!versions.ok() && !absl::IsNotFound(versions.status())) return versions.status();
      what = versions.ok() ? "behind what it imports: a new version, if it may follow the last one"
                           : "new, behind what it imports";
    } else {
      const auto found = Call<SchemaRegistryService, schema::v1::LookupSchemaResponse>(
          session, &Stub::LookupSchema, lookup);
      if (found.ok()) {
        what = Concat("nothing: it is version ", found->schema().version());
        known[item.file] = ReferenceTo(item, found->schema());
      } else if (!absl::IsNotFound(found.status())) {
        return found.status();
      } else {
        schema::v1::CheckRequest check;
        Fill(item, known, check);
        check.set_normalize(normalize);
        TOCSIN_ASSIGN_OR_RETURN(
            const auto verdict,
            (Call<SchemaRegistryService, schema::v1::CheckResponse>(session, &Stub::Check, check)));
        int findings = 0;
        for (const auto& level : verdict.levels()) {
          if (level.level() == verdict.level()) {
            findings = level.findings_size() + level.findings_left_out();
          }
        }
        what = verdict.compatible()
                   ? "a new version"
                   : Concat("refused: ", findings, findings == 1 ? " finding" : " findings",
                            item.check.empty() ? "" : Concat(" (", item.check, ")"));
        if (!verdict.compatible()) ++refused;
      }
    }
    printer.Row(Fields({{"subject", item.subject}, {"file", item.file}, {"what", what}}),
                [&]() -> std::vector<std::string> {
                  return {item.subject, item.file, what};
                });
  }
  printer.Finish();
  Say("Nothing was changed (--dry-run).");
  return refused > 0 ? kExitConflict : kExitOk;
}

}  // namespace

absl::StatusOr<int> PushSchemas(const Session& session, const SchemaPushFlags& flags) {
  if (flags.path.empty() == flags.pack.empty()) {
    return UsageError(
        "name a .proto file (with --subject), a folder of them, or a pack with "
        "--pack");
  }
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<Item> items,
                          flags.pack.empty() ? ItemsOf(flags) : ItemsOfPack(session, flags.pack));
  if (flags.dry_run) return Rehearse(session, items, flags.normalize);
  std::map<std::string, schema::v1::Reference> known;
  ListPrinter printer(session.flags().output, {"SUBJECT", "VERSION", "ID"}, Print);
  for (const Item& item : items) {
    schema::v1::RegisterSchemaRequest request;
    Fill(item, known, request);
    request.set_normalize(flags.normalize);
    const auto response = Call<SchemaRegistryService, schema::v1::RegisterSchemaResponse>(
        session, &Stub::RegisterSchema, request);
    if (!response.ok()) {
      return Annotate(response.status(), Concat(item.file, " as ", item.subject));
    }
    known[item.file] = ReferenceTo(item, response->schema());
    printer.Row(response->schema(), [&]() -> std::vector<std::string> {
      return {item.subject, std::to_string(response->schema().version()),
              std::to_string(response->schema().id())};
    });
  }
  printer.Finish();
  return kExitOk;
}

}  // namespace tocsin::cli
