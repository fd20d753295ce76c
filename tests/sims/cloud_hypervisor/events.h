// --event-monitor: what happens to the VM, as JSON objects one after the other.
#pragma once
#include "lib/base/fd.h"
#include "tests/sims/cloud_hypervisor/refusal.h"

#include <chrono>
#include <string>

namespace attest::sims::cloud_hypervisor {

class Events {
 public:
  /// Says nothing until there is somewhere to say it.
  void open(base::Fd to) { to_ = std::move(to); }
  void tell(const std::string& source, const std::string& event, json properties = nullptr);

 private:
  base::Fd to_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace attest::sims::cloud_hypervisor
