// clock: tells the guest's time, and sets it. The agent's own timers do not follow that clock.
#include "guest/agent/files.h"

#include <ctime>

#include <cerrno>

namespace attest::agent {
namespace {

class SetClock : public Operation {
 public:
  SetClock(const AgentFields& fields, Output& out)
      : Operation(out), given_(fields.has("set_ns")), ns_(fields.number("set_ns")) {}

  void start() override {
    if (given_ && (!ns_ || *ns_ < 0)) return out_.error("usage", "set_ns is no time");
    if (given_) {
      timespec wanted{static_cast<time_t>(*ns_ / 1'000'000'000),
                      static_cast<long>(*ns_ % 1'000'000'000)};
      if (clock_settime(CLOCK_REALTIME, &wanted) != 0) {
        return out_.error("guest", std::string("cannot set the clock: ").append(error_text(errno)));
      }
    }
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    out_.done(AgentFields().add("now_ns", std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec));
  }
  void on_cancel() override {}

 private:
  bool given_;
  std::optional<std::int64_t> ns_;
};

}  // namespace

std::unique_ptr<Operation> make_clock(const AgentFields& fields, Output& out, Services) {
  return std::make_unique<SetClock>(fields, out);
}

}  // namespace attest::agent
