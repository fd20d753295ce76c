// The guest's serial port: to a file or to stdout, and from stdin.
#pragma once
#include "lib/async/net.h"
#include "lib/base/fd.h"

#include <nlohmann/json.hpp>

#include <memory>

namespace attest::sims::firecracker {

class Serial {
 public:
  /// `config` is the body of PUT /serial, or null. Throws Fault if its file cannot be opened.
  Serial(asio::any_io_executor loop, base::Fd port, const nlohmann::json& config);
  Serial(const Serial&) = delete;
  Serial& operator=(const Serial&) = delete;
  ~Serial();
  /// Takes what is there, at once.
  void drain();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace attest::sims::firecracker
