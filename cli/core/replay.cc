#include "cli/core/replay.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <tuple>

#include "cli/core/csv.h"
#include "cli/core/resend.h"
#include "lib/base/backoff.h"
#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

using io::cloudevents::v1::CloudEvent;

// A row's place in the file, so that a file larger than memory can be sent in another order than it
// lies there.
struct RowPlace {
  WallTime time;
  std::int64_t number;
  std::int64_t offset;
  std::int64_t line;
};

absl::StatusOr<std::ifstream> Open(const std::filesystem::path& csv) {
  std::ifstream file(csv, std::ios::binary);
  std::error_code ignored;
  if (std::filesystem::exists(csv, ignored) && !std::filesystem::is_regular_file(csv, ignored)) {
    return InvalidArgument(Concat(csv.string(),
                                  " is not a regular file: the rows are read twice, to put them in "
                                  "order, so save them to a file first"));
  }
  if (!file) {
    return NotFound(Concat("there is no file ", csv.string(), " that can be read"));
  }
  return file;
}

class Replayer {
 public:
  Replayer(CsvMapper& mapper, const ReplayOptions& options, ReplayIo& io)
      : mapper_(mapper), options_(options), io_(io) {}

  absl::StatusOr<ReplayResult> Run(const std::filesystem::path& csv) {
    TOCSIN_RETURN_IF_ERROR(Index(csv));
    progress_.total = result_.rows;
    speed_ = options_.speed;
    if (options_.within > std::chrono::seconds(0) && !rows_.empty()) {
      const std::chrono::duration<double> length = rows_.back().time - rows_.front().time;
      speed_ = length / options_.within;
    }
    io_.OnProgress(progress_);
    TOCSIN_ASSIGN_OR_RETURN(std::ifstream file, Open(csv));
    last_acknowledgement_ = io_.Now();
    const SteadyTime start = io_.Now();
    for (std::size_t next = 0; next < rows_.size();) {
      if (!io_.Wait(std::chrono::milliseconds(0))) return absl::CancelledError("stopped");
      std::vector<std::int64_t> numbers;
      std::vector<CloudEvent> chunk;
      std::size_t bytes = 0;
      std::optional<std::chrono::milliseconds> until_due;
      while (next < rows_.size() && chunk.size() < options_.chunk_events &&
             bytes < options_.chunk_bytes) {
        until_due = UntilDue(rows_[next].time, start);
        if (until_due.has_value()) break;
        auto event = EventAt(file, rows_[next]);
        const std::int64_t number = rows_[next++].number;
        if (!event.ok()) {
          Refuse({number, std::string(Message(event.status()))});
          continue;
        }
        bytes += event->ByteSizeLong();
        chunk.push_back(*std::move(event));
        numbers.push_back(number);
      }
      if (!chunk.empty()) {
        TOCSIN_RETURN_IF_ERROR(Send(std::move(chunk), std::move(numbers)));
      } else if (until_due.has_value() && !io_.Wait(*until_due)) {
        return absl::CancelledError("stopped");
      }
      io_.OnProgress(progress_);
    }
    return std::move(result_);
  }

 private:
  absl::Status Index(const std::filesystem::path& csv) {
    TOCSIN_ASSIGN_OR_RETURN(std::ifstream file, Open(csv));
    CsvReader reader(file);
    TOCSIN_RETURN_IF_ERROR(reader.Next().status());  // the header
    for (std::int64_t number = 1;; ++number) {
      constexpr std::int64_t kRowsBetweenLooks = 10'000;
      if (number % kRowsBetweenLooks == 0 && !io_.Wait(std::chrono::milliseconds(0))) {
        return absl::CancelledError("stopped");
      }
      auto record = reader.Next();
      if (record.ok() && !record->has_value()) break;
      ++result_.rows;
      if (!record.ok()) {
        Refuse({number, std::string(Message(record.status()))});
        continue;
      }
      const auto time = mapper_.Time((*record)->fields);
      if (!time.ok()) {
        Refuse({number, Concat("line ", (*record)->line, ": ", Message(time.status()))});
        continue;
      }
      rows_.push_back({*time, number, (*record)->offset, (*record)->line});
    }
    std::sort(rows_.begin(), rows_.end(), [](const RowPlace& a, const RowPlace& b) {
      return std::tie(a.time, a.number) < std::tie(b.time, b.number);
    });
    return absl::OkStatus();
  }

  absl::StatusOr<CloudEvent> EventAt(std::ifstream& file, const RowPlace& place) {
    file.clear();
    file.seekg(place.offset);
    CsvReader reader(file, place.offset == 0 ? 1 : place.offset, place.line);
    TOCSIN_ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record.has_value()) return InvalidArgument("the file has become shorter");
    auto event = mapper_.Event(place.number, record->fields);
    if (!event.ok()) return Annotate(event.status(), Concat("line ", place.line));
    return event;
  }

  // How long the row must still wait; nullopt when it is due.
  std::optional<std::chrono::milliseconds> UntilDue(WallTime time, SteadyTime start) const {
    if (speed_ <= 0) return std::nullopt;
    const std::chrono::duration<double> into = time - rows_.front().time;
    const SteadyTime due = start + std::chrono::duration_cast<SteadyTime::duration>(into / speed_);
    const SteadyTime now = io_.Now();
    if (due <= now) return std::nullopt;
    return std::min<std::chrono::milliseconds>(
        std::chrono::ceil<std::chrono::milliseconds>(due - now), std::chrono::seconds(1));
  }

  void Refuse(RefusedRow row) {
    ++progress_.refused;
    io_.OnRefused(row);
    result_.refused.push_back(std::move(row));
  }

  absl::Status Send(std::vector<CloudEvent> chunk, std::vector<std::int64_t> numbers) {
    Backoff pauses({options_.first_pause, options_.longest_pause},
                   static_cast<std::uint64_t>(numbers.front()));
    for (;;) {
      absl::Status problem;
      auto receipts = io_.Publish(chunk);
      if (receipts.ok() && receipts->size() != chunk.size()) {
        problem = Internal(
            Concat("the answer has ", receipts->size(), " receipts for ", chunk.size(), " events"));
      } else if (!receipts.ok()) {
        if (!MayResend(receipts.status().code())) return receipts.status();
        problem = receipts.status();
      } else {
        problem = Settle(*receipts, chunk, numbers);
        if (chunk.empty()) {
          progress_.waiting_for.clear();
          return absl::OkStatus();
        }
      }
      if (io_.Now() - last_acknowledgement_ > options_.patience) {
        return Annotate(
            problem,
            Concat("gave up after ",
                   std::chrono::duration_cast<std::chrono::seconds>(options_.patience).count(),
                   " s without any acknowledgement"));
      }
      ++result_.resends;
      progress_.waiting_for = Describe(problem);
      io_.OnProgress(progress_);
      if (!io_.Wait(std::max(pauses.Next(), std::chrono::milliseconds(20)))) {
        return absl::CancelledError("stopped");
      }
    }
  }

  // Takes from the chunk what is settled, for good or ill. Returns why the rest is not.
  absl::Status Settle(const std::vector<ingest::v1::Receipt>& receipts,
                      std::vector<CloudEvent>& chunk, std::vector<std::int64_t>& numbers) {
    absl::Status problem;
    std::vector<CloudEvent> rest;
    std::vector<std::int64_t> rest_numbers;
    for (std::size_t i = 0; i < receipts.size(); ++i) {
      const auto code = static_cast<absl::StatusCode>(receipts[i].error_code());
      if (code == absl::StatusCode::kOk) {
        ++result_.acknowledged;
        ++progress_.acknowledged;
        last_acknowledgement_ = io_.Now();
      } else if (!MayResend(code)) {
        Refuse({numbers[i], receipts[i].error_message()});
      } else {
        if (problem.ok()) problem = absl::Status(code, receipts[i].error_message());
        rest.push_back(std::move(chunk[i]));
        rest_numbers.push_back(numbers[i]);
      }
    }
    chunk = std::move(rest);
    numbers = std::move(rest_numbers);
    return problem;
  }

  CsvMapper& mapper_;
  const ReplayOptions& options_;
  ReplayIo& io_;
  std::vector<RowPlace> rows_;
  double speed_ = 0;
  ReplayResult result_;
  ReplayProgress progress_;
  SteadyTime last_acknowledgement_;
};

}  // namespace

absl::StatusOr<ReplayResult> Replay(const std::filesystem::path& csv, CsvMapper& mapper,
                                    const ReplayOptions& options, ReplayIo& io) {
  return Replayer(mapper, options, io).Run(csv);
}

absl::StatusOr<std::vector<std::string>> ReadHeader(const std::filesystem::path& csv) {
  TOCSIN_ASSIGN_OR_RETURN(std::ifstream file, Open(csv));
  TOCSIN_ASSIGN_OR_RETURN(auto record, CsvReader(file).Next());
  if (!record.has_value()) {
    return InvalidArgument("the file is empty: its first line must name the columns");
  }
  return std::move(record->fields);
}

absl::StatusOr<double> ParseSpeed(std::string_view text) {
  if (text == "max") return 0.0;
  std::string_view digits = text;
  if (!digits.empty() && digits.back() == 'x') digits.remove_suffix(1);
  double speed = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), speed);
  if (error != std::errc() || end != digits.data() + digits.size() || !(speed > 0) ||
      !std::isfinite(speed)) {
    return InvalidArgument(Concat("--speed '", text,
                                  "': give max, or how many times faster than the events' own "
                                  "times: 1, 60, 3600"));
  }
  return speed;
}

std::string WithCommas(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

std::string ProgressText(const ReplayProgress& progress, std::chrono::duration<double> elapsed) {
  const std::int64_t done = progress.acknowledged + progress.refused;
  const double rate =
      elapsed.count() > 0 ? static_cast<double>(progress.acknowledged) / elapsed.count() : 0;
  std::string text =
      Concat(WithCommas(done), " of ", WithCommas(progress.total), " rows (",
             progress.total == 0 ? std::int64_t{100} : 100 * done / progress.total, " %)");
  if (rate > 0) {
    text += Concat(", ", WithCommas(std::llround(rate)), "/s");
    if (done < progress.total) {
      text += Concat(
          ", ",
          WithCommas(std::llround(std::ceil(static_cast<double>(progress.total - done) / rate))),
          " s left");
    }
  }
  if (progress.refused > 0) text += Concat(", ", WithCommas(progress.refused), " refused");
  if (!progress.waiting_for.empty()) text += Concat(", waiting: ", progress.waiting_for);
  return text;
}

}  // namespace tocsin::cli
