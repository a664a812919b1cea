// What `tocsin up` does beside supervising, each on a thread of its own: it plays the packs'
// scenarios and follows the incidents that come of them.
#pragma once

#include <filesystem>
#include <string>
#include <thread>

#include "cli/stop_request.h"
#include "cli/supervisor/background.h"
#include "cli/supervisor/configs.h"

namespace tocsin::cli {

// Until both are done or the destructor. `narrator` must outlive it.
class Demo {
 public:
  // `token`: for the gateway of `plan`.
  Demo(const SystemPlan& plan, std::string token, Narrator& narrator);
  ~Demo();
  Demo(const Demo&) = delete;
  Demo& operator=(const Demo&) = delete;

  // Every scenario of the packs, once; then makes the file `played`.
  void Play(const std::filesystem::path& played);
  // Each change of an incident, on standard output.
  void FollowIncidents();

 private:
  const SystemPlan& plan_;
  const std::string token_;
  Narrator& narrator_;
  StopRequest stop_;
  std::thread playing_;
  std::thread following_;
};

}  // namespace tocsin::cli
