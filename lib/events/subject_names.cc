#include "lib/events/subject_names.h"

#include <algorithm>

#include "lib/base/text.h"

namespace tocsin::events {

std::string SubjectName(SubjectNaming naming, std::string_view topic, RecordPart part,
                        std::string_view message) {
  switch (naming) {
    case SubjectNaming::kRecordName:
      return std::string(message);
    case SubjectNaming::kTopicRecordName:
      return Concat(topic, "-", message);
    case SubjectNaming::kTopicName:
      break;
  }
  return Concat(topic, part == RecordPart::kKey ? "-key" : "-value");
}

std::string ReferenceSubjectName(ReferenceNaming naming, std::string_view import_path) {
  if (naming == ReferenceNaming::kDefault) return std::string(import_path);
  constexpr std::string_view kEnding = ".proto";
  if (import_path.ends_with(kEnding)) import_path.remove_suffix(kEnding.size());
  std::string subject(import_path);
  std::replace(subject.begin(), subject.end(), '/', '.');
  return subject;
}

}  // namespace tocsin::events
