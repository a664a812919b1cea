#include "cli/schema/git.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/text.h"

namespace tocsin::cli {
namespace {

constexpr std::size_t kMostOutput = std::size_t{64} << 20;
constexpr std::size_t kMostWords = std::size_t{8} << 10;

class Pipe {
 public:
  Pipe() { good_ = pipe2(ends_.data(), O_CLOEXEC) == 0; }
  ~Pipe() {
    Close(0);
    Close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  bool good() const { return good_; }
  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void Close(std::size_t end) {
    if (ends_[end] >= 0) close(ends_[end]);
    ends_[end] = -1;
  }

 private:
  std::array<int, 2> ends_ = {-1, -1};
  bool good_ = false;
};

// Reads both until both have ended; what is over the bounds is read and dropped.
void Drain(int out, int err, std::string& output, std::string& words, bool& too_much) {
  std::array<pollfd, 2> waiting = {pollfd{out, POLLIN, 0}, pollfd{err, POLLIN, 0}};
  std::array<char, 1 << 16> buffer;
  while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
      const ssize_t got = read(waiting[i].fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        waiting[i].fd = -1;
        continue;
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      std::string& into = i == 0 ? output : words;
      if (into.size() + bytes.size() <= (i == 0 ? kMostOutput : kMostWords)) {
        into.append(bytes);
      } else if (i == 0) {
        too_much = true;
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::string> RunGit(const std::filesystem::path& folder,
                                   const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"git", "-C", folder.string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<char*> words;
  for (std::string& word : command) words.push_back(word.data());
  words.push_back(nullptr);
  Pipe out;
  Pipe err;
  if (!out.good() || !err.good()) {
    return Internal(Concat("cannot make a pipe: ", std::strerror(errno)));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write_end(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write_end(), STDERR_FILENO);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, "git", &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    return NotFound(Concat("cannot start git: ", std::strerror(failed),
                           "; install it, or check against a folder"));
  }
  out.Close(1);
  err.Close(1);
  std::string output;
  std::string said;
  bool too_much = false;
  Drain(out.read_end(), err.read_end(), output, said, too_much);
  int ended = 0;
  while (waitpid(pid, &ended, 0) < 0 && errno == EINTR) {
  }
  if (too_much) return ResourceExhausted("git gave more than 64 MiB; check a smaller folder");
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0) {
    while (!said.empty() && said.back() == '\n') said.pop_back();
    return FailedPrecondition(Concat("git ", arguments.empty() ? "" : arguments.front(), ": ",
                                     said.empty() ? "it failed without a word" : said));
  }
  return output;
}

}  // namespace tocsin::cli
