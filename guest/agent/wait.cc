#include "guest/agent/wait.h"

#include <utility>

namespace attest::agent {
namespace {

class Refusal : public Operation {
 public:
  Refusal(Output& out, std::string kind, std::string text)
      : Operation(out), kind_(std::move(kind)), text_(std::move(text)) {}
  void start() override { out_.error(kind_, text_); }
  void on_cancel() override {}

 private:
  std::string kind_, text_;
};

}  // namespace

void Wait::on_cancel() {
  out_.error("timeout", "waiting for " + what_ + " was given up" +
                            (state_.empty() ? "" : "; last seen: " + state_));
}

void Wait::state(std::string_view text) {
  if (text == state_) return;
  state_ = text;
  out_.event({{"state", text}});
}

void Wait::in(std::chrono::milliseconds delay, Loop::Callback callback) {
  loop_.cancel(timer_);
  timer_ = loop_.at(Clock::now() + delay, std::move(callback));
}

std::unique_ptr<Operation> make_refusal(Output& out, std::string kind, std::string text) {
  return std::make_unique<Refusal>(out, std::move(kind), std::move(text));
}

std::unique_ptr<Operation> make_wait(const AgentFields& fields, Output& out, Services services) {
  auto what = fields.get("for");
  if (what == "unit") return make_unit_wait(fields, out, services);
  if (what == "job") return make_job_wait(fields, out, services);
  if (what == "port") return make_port_wait(fields, out, services);
  if (what == "file") return make_file_wait(fields, out, services);
  if (what == "socket") return make_socket_wait(fields, out, services);
  return make_refusal(out, "unsupported",
                      "this agent knows no wait for '" + std::string(what) + "'");
}

}  // namespace attest::agent
