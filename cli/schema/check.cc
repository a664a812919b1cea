// `tocsin schema check`: the registry's verdict before there is anything to register.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "cli/calls.h"
#include "cli/console.h"
#include "cli/core/exit_code.h"
#include "cli/output.h"
#include "cli/schema/commands.h"
#include "cli/schema/finding_text.h"
#include "cli/schema/registry_versions.h"
#include "cli/schema/text_source.h"
#include "lib/base/text.h"
#include "lib/schema/compatibility.h"
#include "lib/schema/source_tree.h"
#include "tocsin/schema/v1/registry.grpc.pb.h"

namespace tocsin::cli {
namespace {

using schema::CompatibilityLevel;
using schema::CompiledSchema;
using schema::v1::SchemaRegistryService;
using Compiled = std::shared_ptr<const CompiledSchema>;
using Tree = std::map<std::string, Compiled>;

absl::StatusOr<CompatibilityLevel> LevelOf(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::toupper(c));
  });
  auto level = schema::ParseLevel(text);
  if (!level.ok()) return UsageError(level.status(), "--level");
  return level;
}

// What was found in one file.
struct FileVerdict {
  std::string file;
  std::string against;
  CompatibilityLevel level{};
  // "compatible", "incompatible", "new", "unchanged", "removed"
  std::string state;
  std::vector<schema::Finding> findings;
  Compiled older;
  std::string older_name;
  Compiled newer;
  // Findings beyond those.
  std::size_t left_out = 0;
};

class Report {
 public:
  explicit Report(const Session& session)
      : told_(session.flags().output == OutputForm::kTable),
        printer_(session.flags().output, {}, Print) {}

  void Add(const FileVerdict& verdict) {
    ++counts_[verdict.state];
    if (!told_) return printer_.Row(Fields(verdict), nullptr);
    if (verdict.state == "removed") {
      Say(Concat(verdict.file, " is in ", verdict.against,
                 " and not here: there is nothing to check; its subject stays as it is."));
    }
    if (verdict.findings.empty()) return;
    Print(Concat(verdict.file, " breaks ", schema::LevelName(verdict.level), " against ",
                 verdict.against, ":\n"));
    for (const schema::Finding& finding : verdict.findings) {
      Print(Concat(FindingText(finding, {verdict.older_name, *verdict.older},
                               {verdict.file, *verdict.newer}),
                   "\n"));
    }
    if (verdict.left_out > 0) {
      Print(Concat("And ", verdict.left_out,
                   verdict.left_out == 1 ? " more finding" : " more findings", " in ", verdict.file,
                   ", which are not told; mend these first.\n"));
    }
  }

  int Finish(std::string_view against, std::string_view level) {
    printer_.Finish();
    if (told_) {
      const int checked = Count("compatible") + Count("incompatible") + Count("unchanged");
      std::string words = Concat("Checked ", checked, checked == 1 ? " file" : " files",
                                 " against ", against, level.empty() ? "" : " at ", level, ": ");
      words += Count("incompatible") == 0 ? "compatible"
                                          : Concat(Count("incompatible"), " not compatible");
      if (Count("new") > 0) words += Concat(", ", Count("new"), " new");
      Say(Concat(words, "."));
    }
    return Count("incompatible") > 0 ? kExitFailure : kExitOk;
  }

 private:
  static google::protobuf::Struct Fields(const FileVerdict& verdict) {
    google::protobuf::Struct row = cli::Fields({{"file", verdict.file},
                                                {"against", verdict.against},
                                                {"level", schema::LevelName(verdict.level)},
                                                {"state", verdict.state}});
    auto& list = *(*row.mutable_fields())["findings"].mutable_list_value();
    for (const schema::Finding& finding : verdict.findings) {
      *list.add_values()->mutable_struct_value() = FindingFields(finding);
    }
    if (verdict.left_out > 0) {
      (*row.mutable_fields())["findingsLeftOut"].set_number_value(
          static_cast<double>(verdict.left_out));
    }
    return row;
  }
  int Count(const std::string& state) const {
    const auto found = counts_.find(state);
    return found == counts_.end() ? 0 : found->second;
  }

  const bool told_;
  ListPrinter printer_;
  std::map<std::string, int> counts_;
};

absl::StatusOr<Tree> CompileFrom(TextSource& source, const std::vector<std::string>& names) {
  TOCSIN_ASSIGN_OR_RETURN(const auto texts, ReadWithImports(source, names));
  auto tree = schema::CompileTree(texts);
  if (tree.ok()) return tree;
  return InvalidArgument(
      Concat("the .proto files of ", source.name(), " do not compile:\n", Message(tree.status()),
             "\nImports are looked up from there; --root names another folder."));
}

absl::StatusOr<std::vector<std::string>> NamesIn(TextSource& source, std::string_view under) {
  TOCSIN_ASSIGN_OR_RETURN(std::vector<std::string> names, source.List(under));
  // Those that every schema may import are not one's own, though they may lie in the tree.
  std::erase_if(names, [](const std::string& name) { return schema::IsWellKnownImport(name); });
  return names;
}

FileVerdict Compare(const std::string& file, const Compiled& older, std::string older_name,
                    const Compiled& newer, CompatibilityLevel level, std::string against) {
  FileVerdict verdict{file,  std::move(against),    level, "compatible", {},
                      older, std::move(older_name), newer};
  schema::HistoryVerdict judged = schema::CheckHistory(std::span(&older, 1), *newer, level);
  verdict.findings = std::move(judged.findings);
  verdict.left_out = judged.left_out;
  if (!verdict.findings.empty()) verdict.state = "incompatible";
  return verdict;
}

// A file or tree against an older state of the same.
absl::StatusOr<int> CheckTexts(const Session& session, const SchemaCheckFlags& flags,
                               const ProtoPath& path, const std::vector<std::string>& names,
                               const Tree& newer) {
  TOCSIN_ASSIGN_OR_RETURN(const CompatibilityLevel level,
                          LevelOf(flags.level.empty() ? "BACKWARD" : flags.level));
  std::unique_ptr<TextSource> source;
  std::vector<std::string> older_names;
  // A file may be compared with one of another name.
  std::optional<std::string> other;
  if (flags.against.starts_with("git:")) {
    TOCSIN_ASSIGN_OR_RETURN(source, GitSource(path.root, flags.against.substr(4)));
    TOCSIN_ASSIGN_OR_RETURN(older_names, NamesIn(*source, path.under));
  } else {
    auto older = ResolveProtoPath(flags.against, "");
    if (!older.ok()) return UsageError(older.status(), "--against");
    if (older->is_file && !path.is_file) {
      return UsageError(Concat("--against: ", flags.against, " is a file, and ", flags.path,
                               " is a folder; give two of a kind"));
    }
    source = FolderSource(older->root);
    TOCSIN_ASSIGN_OR_RETURN(older_names,
                            NamesIn(*source, older->is_file ? older->under : path.under));
    if (older->is_file) {
      other = older->under;
      // An older state of one file may lie anywhere; what it imports is where it always was.
      source = WithFallback(std::move(source), FolderSource(path.root));
    }
  }
  TOCSIN_ASSIGN_OR_RETURN(const Tree older, CompileFrom(*source, older_names));
  Report report(session);
  for (const std::string& name : names) {
    const auto was = older.find(other.value_or(name));
    if (was == older.end()) {
      report.Add({name, flags.against, level, "new", {}, nullptr, "", newer.at(name)});
    } else {
      report.Add(Compare(name, was->second, Concat(source->name(), " ", was->first), newer.at(name),
                         level, flags.against));
    }
  }
  for (const std::string& name : older_names) {
    if (!other && !newer.contains(name)) {
      report.Add({name, flags.against, level, "removed", {}, nullptr, "", nullptr});
    }
  }
  return report.Finish(flags.against, schema::LevelName(level));
}

absl::StatusOr<CompatibilityLevel> LevelInForce(const Session& session,
                                                const std::string& subject) {
  schema::v1::GetConfigRequest request;
  request.set_subject(subject);
  request.set_or_default(true);
  TOCSIN_ASSIGN_OR_RETURN(const auto response,
                          (Call<SchemaRegistryService, schema::v1::GetConfigResponse>(
                              session, &SchemaRegistryService::StubInterface::GetConfig, request)));
  if (response.config().has_compatibility_group()) {
    Say(Concat(subject, " compares versions of one ", response.config().compatibility_group(),
               " only; here they are all compared."));
  }
  constexpr std::string_view kPrefix = "COMPATIBILITY_";
  const std::string& name = schema::v1::Compatibility_Name(response.config().compatibility());
  auto level = schema::ParseLevel(
      name.starts_with(kPrefix) ? std::string_view(name).substr(kPrefix.size()) : name);
  // None is set anywhere.
  return level.ok() ? *level : CompatibilityLevel::kBackward;
}

absl::StatusOr<FileVerdict> CheckSubject(const Session& session, const std::string& subject,
                                         const std::string& file, const Compiled& newer,
                                         std::optional<CompatibilityLevel> level) {
  FileVerdict verdict{file, subject, {}, "compatible", {}, nullptr, "", newer};
  if (level) {
    verdict.level = *level;
  } else {
    TOCSIN_ASSIGN_OR_RETURN(verdict.level, LevelInForce(session, subject));
  }
  const auto numbers = FetchVersionNumbers(session, subject);
  if (absl::IsNotFound(numbers.status())) {
    verdict.state = "new";
    return verdict;
  }
  if (!numbers.ok()) return numbers.status();
  std::span<const std::int32_t> wanted(*numbers);
  if (!schema::IsTransitive(verdict.level) && !wanted.empty()) wanted = wanted.last(1);
  std::vector<RegistryVersion> versions;
  std::vector<Compiled> history;
  for (const std::int32_t number : wanted) {
    TOCSIN_ASSIGN_OR_RETURN(RegistryVersion version, FetchVersion(session, subject, number));
    history.push_back(version.compiled);
    versions.push_back(std::move(version));
  }
  // As the registry does: what is there already is never refused.
  const bool alone = newer->file().dependency_count() == 0;
  if (alone && std::any_of(history.begin(), history.end(), [&](const Compiled& version) {
        return version->fingerprint() == newer->fingerprint();
      })) {
    verdict.state = "unchanged";
    return verdict;
  }
  auto judged = schema::CheckHistory(history, *newer, verdict.level);
  if (!judged.findings.empty()) {
    const RegistryVersion& against = versions[judged.against.value_or(versions.size() - 1)];
    verdict.state = "incompatible";
    verdict.findings = std::move(judged.findings);
    verdict.left_out = judged.left_out;
    verdict.older = against.compiled;
    verdict.older_name = against.name();
    verdict.against = against.name();
  }
  return verdict;
}

}  // namespace

absl::StatusOr<int> CheckSchemas(const Session& session, const SchemaCheckFlags& given) {
  SchemaCheckFlags flags = given;
  if (flags.against.empty()) flags.against = flags.subject.empty() ? "git:HEAD" : "registry";
  if (!flags.subject.empty() && flags.against != "registry") {
    return UsageError("--subject is one of the registry: leave --against out, or give one of them");
  }
  TOCSIN_ASSIGN_OR_RETURN(const ProtoPath path, ResolveProtoPath(flags.path, flags.root));
  if (!flags.subject.empty() && !path.is_file) {
    return UsageError(Concat("--subject needs one file, and ", flags.path,
                             " is a folder; without it each file is checked against the subject "
                             "named as it is imported"));
  }
  std::optional<CompatibilityLevel> level;
  if (!flags.level.empty()) {
    TOCSIN_ASSIGN_OR_RETURN(level, LevelOf(flags.level));
  }
  const auto source = FolderSource(path.root);
  TOCSIN_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(*source, path.under));
  if (names.empty()) return UsageError(Concat(flags.path, " holds no .proto file"));
  TOCSIN_ASSIGN_OR_RETURN(const Tree newer, CompileFrom(*source, names));
  if (flags.against != "registry") return CheckTexts(session, flags, path, names, newer);
  Report report(session);
  for (const std::string& name : names) {
    TOCSIN_ASSIGN_OR_RETURN(const FileVerdict verdict,
                            CheckSubject(session, flags.subject.empty() ? name : flags.subject,
                                         name, newer.at(name), level));
    report.Add(verdict);
  }
  return report.Finish("the registry", level ? schema::LevelName(*level) : "");
}

}  // namespace tocsin::cli
