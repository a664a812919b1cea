#include "lib/schema/source_tree.h"

#include <set>
#include <utility>
#include <vector>

#include "lib/base/status.h"

namespace tocsin::schema {

absl::StatusOr<std::map<std::string, std::shared_ptr<const CompiledSchema>>> CompileTree(
    const std::map<std::string, std::string>& texts, const CompileLimits& limits) {
  std::map<std::string, std::vector<std::string>> direct;
  for (const auto& [name, text] : texts) {
    // What does not parse is told when it is compiled.
    if (auto imports = ImportsOf({name, text}, limits); imports.ok()) {
      direct.emplace(name, *std::move(imports));
    }
  }
  std::map<std::string, std::shared_ptr<const CompiledSchema>> schemas;
  std::set<std::string> errors;
  for (const auto& [name, text] : texts) {
    // Only what it imports, directly or not: a tree may hold more than one schema may.
    std::set<std::string> needed;
    std::vector<std::string> waiting = {name};
    while (!waiting.empty()) {
      const std::string file = std::move(waiting.back());
      waiting.pop_back();
      const auto found = direct.find(file);
      if (found == direct.end()) continue;
      for (const std::string& import : found->second) {
        if (texts.contains(import) && needed.insert(import).second) waiting.push_back(import);
      }
    }
    std::vector<SourceFile> imports;
    for (const std::string& import : needed) {
      if (import != name) imports.push_back({import, texts.at(import)});
    }
    auto schema = CompiledSchema::Compile({name, text}, imports, limits);
    if (schema.ok()) {
      schemas.emplace(name, *std::move(schema));
    } else {
      // A file that is broken breaks all that import it: each line once.
      for (std::string& line : Split(Message(schema.status()), '\n'))
        errors.insert(std::move(line));
    }
  }
  if (errors.empty()) return schemas;
  return InvalidArgument(Join({errors.begin(), errors.end()}, "\n"));
}

}  // namespace tocsin::schema
