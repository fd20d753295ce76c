// What a running machine tells by itself: events, its console's last words, connections of its
// guest.
#include "attest/error.h"
#include "backends/cloud_hypervisor/event_monitor.h"
#include "backends/cloud_hypervisor/running.h"
#include "backends/microvm/channel.h"
#include "lib/async/within.h"

#include <array>

namespace attest::cloud_hypervisor {
namespace {

using namespace std::chrono_literals;

// A guest that went on from a snapshot notices soon that its connection has ended.
constexpr auto patience_with_dialling = 2s;
constexpr auto between_dials = 250ms;
constexpr auto patience_with_a_dial = 2500ms;
// From a guest's last words to the end of its monitor.
constexpr auto patience_with_exit = 2s;
// From a kernel's panic to the end of what it says about it.
constexpr auto patience_with_panic = 500ms;

}  // namespace

// Ends the machine of a guest that has panicked and stays, as soon as it has said all.
Task<void> Running::end_after(Process process, std::string cause) {
  try {
    co_await async::within(Deadline::after(patience_with_panic), "", process->wait_gone());
  } catch (const Error&) {
  }
  process->end_with(std::move(cause), false);
}

// The guest need not have a driver for the device that tells of panics: its console tells, too.
microvm::MonitorProcess::Console Running::console_sink(
    std::shared_ptr<std::weak_ptr<microvm::MonitorProcess>> to) {
  return [to, sink = site_->context.console, loop = loop_,
          ended = false](std::string_view bytes) mutable {
    if (sink) sink(bytes);
    auto process = to->lock();
    if (ended || !process || process->watch().fatal().empty()) return;
    ended = true;
    asio::co_spawn(loop, end_after(process, "the guest gave up"), [](std::exception_ptr) {});
  };
}

void Running::on_event(asio::any_io_executor loop, const Process& process,
                       const MonitorEvent& event, bool reboots) {
  if (event.is("vm", "rebooting") && !reboots)
    process->end_with("the guest rebooted, which ends it (allow_reboot is off)", true);
  if (event.is("vm", "rebooted")) process->watch().clear();
  if (event.is("guest", "panic"))
    asio::co_spawn(loop, end_after(process, "the guest's kernel panicked"),
                   [](std::exception_ptr) {});
}

Task<void> Running::read_events(std::weak_ptr<Running> owner, Process process,
                                std::shared_ptr<Stream> events, bool reboots) {
  auto loop = co_await asio::this_coro::executor;
  EventReader reader;
  std::array<char, 4096> buffer;
  std::string broken;
  try {
    while (std::size_t count = co_await events->read_some(buffer)) {
      reader.feed({buffer.data(), count});
      while (auto event = reader.next()) {
        on_event(loop, process, *event, reboots);
        if (auto self = owner.lock()) self->changed_.pulse();
      }
    }
  } catch (const Error& error) {
    broken = error.what();
  }
  // Without its events a restart would go unnoticed.
  if (!broken.empty()) process->end_with(broken, false);
}

// A guest that only halts leaves its monitor running.
Task<void> Running::end_when_halted(Process process, std::shared_ptr<microvm::Api> api) {
  co_await async::unless(process->dies(), process->guest_halted());
  auto gone_within = [process](std::chrono::milliseconds span) {
    return async::within(Deadline::after(span), "", process->wait_gone());
  };
  try {
    co_await gone_within(patience_with_exit);
    co_return;
  } catch (const Error&) {
  }
  try {
    co_await api->try_call(simple_request("vmm.shutdown"), Deadline::after(patience_with_exit));
    co_await gone_within(patience_with_exit);
  } catch (const Error&) {
  }
  process->end_with("the guest powered off", true);
}

Task<std::unique_ptr<Stream>> Running::dialled(Self self, Deadline deadline) {
  if (!self->dial_) throw Error(Error::Kind::host, "the machine was switched off");
  co_return co_await self->dial_->next(deadline);
}

Task<std::unique_ptr<Stream>> Running::greeting(Self self, bool again, Deadline deadline) {
  if (!self->site_->parts.agent_greets)
    co_return co_await microvm::dial_guest(self->loop_, self->uds(), microvm::shell_port, deadline);
  if (!again) co_return co_await dialled(self, deadline);
  // Before 52 a restored guest does not learn that its connection has ended, and is called.
  bool learns = self->site_->launch.version >= with_on_demand;
  auto limit = deadline.earlier(Deadline::after(learns ? patience_with_dialling : between_dials));
  while (true) {
    try {
      co_return co_await dialled(self, limit);
    } catch (const Error&) {
      if (deadline.passed() || !self->dial_) throw;
    }
    try {
      co_return co_await microvm::dial_guest_once(
          self->loop_, self->uds(), microvm::agent_port,
          deadline.earlier(Deadline::after(patience_with_a_dial)));
    } catch (const Error&) {
      if (deadline.passed()) throw;
    }
    limit = deadline.earlier(Deadline::after(between_dials));
  }
}

namespace {

// The backend keeps a hold on the channel that the core has, to end it at a snapshot.
class Held final : public Stream {
 public:
  explicit Held(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~Held() override { stream_->close(); }
  Task<std::size_t> read_some(std::span<char> buffer) override {
    return stream_->read_some(buffer);
  }
  Task<void> write_all(std::string_view bytes) override { return stream_->write_all(bytes); }
  void close() noexcept override { stream_->close(); }

 private:
  std::shared_ptr<Stream> stream_;
};

}  // namespace

Task<std::unique_ptr<Stream>> Running::channel(Self self, bool again, Deadline deadline) {
  int number = ++self->connections_;
  auto process = self->process_;
  auto first = co_await async::unless(process->dies(), greeting(self, again, deadline));
  struct Next {
    // Nothing more comes on this channel when the machine is gone, or has another one.
    static Task<std::unique_ptr<Stream>> come(std::weak_ptr<Running> owner, int number) {
      auto self = owner.lock();
      bool over = !self || self->connections_ != number || self->is_gone();
      if (over) throw Error(Error::Kind::host, "the connection to the guest has ended");
      auto process = self->process_;
      co_return co_await async::unless(process->dies(), greeting(self, false, Deadline::never()));
    }
  };
  microvm::Connect connect = [owner = std::weak_ptr<Running>(self), number] {
    return Next::come(owner, number);
  };
  self->channel_ = microvm::make_channel(self->loop_, std::move(first), std::move(connect));
  co_return std::make_unique<Held>(self->channel_);
}

Task<std::unique_ptr<Stream>> Running::shell(Self self, Deadline deadline) {
  auto process = self->process_;
  co_return co_await async::unless(
      process->dies(),
      microvm::dial_guest(self->loop_, self->uds(), microvm::shell_port, deadline));
}

}  // namespace attest::cloud_hypervisor
