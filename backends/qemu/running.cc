#include "backends/qemu/running.h"

#include "attest/error.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"

#include <array>

namespace attest::qemu {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_output = 16384;
// A process that QEMU or a start script left behind may hold a pipe open after the end.
constexpr auto patience_after_exit = 500ms;

}  // namespace

std::shared_ptr<Running> Running::start(asio::any_io_executor loop, async::ChildSpec spec,
                                        base::Fd serial, base::Fd output, Console console) {
  auto self = std::make_shared<Running>(loop, std::move(spec), std::move(serial), std::move(output),
                                        std::move(console));
  self->spawn_pump(pump_serial(self));
  self->spawn_pump(pump_output(self));
  // Nothing is swallowed: supervise() turns what happens into the Gone that callers wait for.
  asio::co_spawn(loop, supervise(self), [](std::exception_ptr) {});
  return self;
}

Running::Running(asio::any_io_executor loop, async::ChildSpec spec, base::Fd serial,
                 base::Fd output, Console console)
    : loop_(loop),
      console_(std::move(console)),
      serial_(async::make_stream(loop, std::move(serial))),
      output_(async::make_stream(loop, std::move(output))),
      typing_(loop),
      drained_(loop),
      gone_(loop),
      child_(loop, std::move(spec)) {}

void Running::spawn_pump(Task<void> pump) {
  ++pumps_;
  // A pump that fails has nothing more to read; why QEMU ended is found out from its status.
  asio::co_spawn(loop_, std::move(pump), [self = shared_from_this()](std::exception_ptr) {
    if (--self->pumps_ == 0) self->drained_.set();
  });
}

Task<void> Running::pump_serial(std::shared_ptr<Running> self) {
  std::array<char, 16384> buffer;
  while (std::size_t count = co_await self->serial_->read_some(buffer)) {
    std::string_view bytes(buffer.data(), count);
    self->fatal_.feed(bytes);
    if (self->console_) self->console_(bytes);
  }
}

Task<void> Running::pump_output(std::shared_ptr<Running> self) {
  std::array<char, 4096> buffer;
  auto& kept = self->ending_.output;
  while (std::size_t count = co_await self->output_->read_some(buffer)) {
    kept.append(buffer.data(), count);
    if (kept.size() > most_output) kept.erase(0, kept.size() - most_output);
  }
}

Task<void> Running::pump_events(std::shared_ptr<Running> self) {
  while (auto event = co_await self->qmp_->next_event(Deadline::never())) {
    if (event->name == "SHUTDOWN") self->ending_.shutdown = proto::parse_shutdown(event->data);
    // With allow_reboot a panic is followed by a fresh start: it is not how this guest will end.
    // Without it a reset comes with the SHUTDOWN that is the end.
    if (event->name == "RESET" && !self->ending_.shutdown) self->fatal_.clear();
  }
}

Task<void> Running::supervise(std::shared_ptr<Running> self) {
  self->ending_.status = co_await self->child_.wait();
  try {
    co_await async::within(Deadline::after(patience_after_exit), "reading QEMU's last words",
                           self->drained_.wait());
  } catch (const Error&) {
    // Somebody else holds a pipe: what has been read must do.
  }
  self->ending_.fatal_line = self->fatal_.text();
  self->result_ = explain(self->ending_);
  self->gone_.set();
}

Task<void> Running::attach_qmp(base::Fd fd, Deadline deadline) {
  qmp_ = std::make_unique<proto::Qmp>(loop_, async::make_stream(loop_, std::move(fd)));
  spawn_pump(pump_events(shared_from_this()));
  co_await qmp_->negotiate(deadline);
}

void Running::abandon() noexcept {
  console_ = nullptr;
  kill();
}

Task<Gone> Running::wait_gone() {
  auto self = shared_from_this();
  co_await self->gone_.wait();
  co_return self->result_;
}

Task<void> Running::dies() {
  Gone gone = co_await wait_gone();
  throw Error(Error::Kind::host, gone.cause);
}

Task<void> Running::type(std::string bytes) {
  auto self = shared_from_this();
  auto lock = co_await self->typing_.lock();
  co_await self->serial_->write_all(bytes);
}

}  // namespace attest::qemu
