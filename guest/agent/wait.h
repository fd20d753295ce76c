// wait: what all kinds of waiting share. A wait ends by itself, as soon as it holds or can no
// longer come true; how long that may take is the host's business (cancel).
#pragma once
#include "guest/agent/loop.h"
#include "guest/agent/operation.h"

#include <chrono>
#include <string>
#include <string_view>

namespace attest::agent {

/// The base of the waits.
class Wait : public Operation {
 public:
  ~Wait() override { loop_.cancel(timer_); }
  void on_cancel() override;

 protected:
  /// `what` is waited for, in words: "file '/x'".
  Wait(Output& out, Loop& loop, std::string what)
      : Operation(out), loop_(loop), what_(std::move(what)) {}

  /// Tells the host how things stand, if that is news.
  void state(std::string_view text);
  /// Calls in so much time; takes back what was asked for before.
  void in(std::chrono::milliseconds delay, Loop::Callback callback);

  Loop& loop_;
  std::string what_;

 private:
  std::string state_;
  Loop::Timer timer_ = 0;
};

/// The time between two looks at something that does not tell: short at first, so that what comes
/// soon is seen soon, then so that the guest does not feel it (5 ms cost 4-6 % of a slow CPU).
class Pace {
 public:
  std::chrono::milliseconds next() {
    auto now = pace_;
    if (++count_ % 8 == 0 && pace_ < slowest) pace_ += std::chrono::milliseconds(5);
    return now;
  }

 private:
  static constexpr std::chrono::milliseconds slowest{20};
  std::chrono::milliseconds pace_{5};
  int count_ = 0;
};

std::unique_ptr<Operation> make_file_wait(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_job_wait(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_port_wait(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_socket_wait(const AgentFields&, Output&, Services);
std::unique_ptr<Operation> make_unit_wait(const AgentFields&, Output&, Services);

/// An operation that only says that it was asked for wrongly, as its factory may not.
std::unique_ptr<Operation> make_refusal(Output& out, std::string kind, std::string text);

}  // namespace attest::agent
