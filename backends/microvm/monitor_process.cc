#include "backends/microvm/monitor_process.h"

#include "attest/error.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace attest::microvm {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_output = 16384;
constexpr int pipe_size = 1 << 20;  // monitors drop what a full console pipe does not take
// A process that a monitor left behind may hold a pipe open after the end.
constexpr auto patience_after_exit = 500ms;

std::shared_ptr<Stream> give_pipe(asio::any_io_executor loop, MonitorSpec& spec, int number) {
  auto [ours, theirs] = base::make_pipe();
  // Fine if the limit of all pipes of a user is reached: it is only smaller then.
  ::fcntl(ours.get(), F_SETPIPE_SZ, pipe_size);
  spec.child.fds[number] = std::move(theirs);
  return async::make_stream(loop, std::move(ours));
}

std::string end_of_file(const std::filesystem::path& path) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  off_t size = file ? ::lseek(file.get(), 0, SEEK_END) : 0;
  if (size <= 0) return "";
  std::string text(std::min<std::size_t>(size, most_output), '\0');
  ssize_t count = ::pread(file.get(), text.data(), text.size(), size - off_t(text.size()));
  text.resize(std::max<ssize_t>(count, 0));
  return text;
}

}  // namespace

MonitorProcess::MonitorProcess(asio::any_io_executor loop, MonitorSpec spec, Console console)
    : loop_(loop),
      console_(std::move(console)),
      stdout_(give_pipe(loop, spec, 1)),
      stderr_(give_pipe(loop, spec, 2)),
      drained_(loop),
      gone_(loop),
      halted_(loop),
      child_(loop, std::move(spec.child)) {
  spec_ = std::move(spec);
}

std::shared_ptr<MonitorProcess> MonitorProcess::start(asio::any_io_executor loop, MonitorSpec spec,
                                                      Console console) {
  auto self = std::make_shared<MonitorProcess>(loop, std::move(spec), std::move(console));
  if (self->spec_.stdout_is_console)
    self->spawn_pump(pump_console(self, self->stdout_));
  else
    self->spawn_pump(pump_output(self, self->stdout_));
  self->spawn_pump(pump_output(self, self->stderr_));
  // Nothing is swallowed: supervise() turns what happens into the Gone that callers wait for.
  asio::co_spawn(loop, supervise(self), [](std::exception_ptr) {});
  return self;
}

void MonitorProcess::spawn_pump(Task<void> pump) {
  ++pumps_;
  // A pump that fails has nothing more to read; why the monitor ended, its status tells.
  asio::co_spawn(loop_, std::move(pump), [self = shared_from_this()](std::exception_ptr) {
    if (--self->pumps_ == 0) self->drained_.set();
  });
}

Task<void> MonitorProcess::pump_console(std::shared_ptr<MonitorProcess> self,
                                        std::shared_ptr<Stream> source) {
  std::array<char, 16384> buffer;
  while (std::size_t count = co_await source->read_some(buffer)) {
    std::string_view bytes(buffer.data(), count);
    self->watch_.feed(bytes);
    if (self->console_) self->console_(bytes);
    if (self->watch_.halted()) self->halted_.set();
  }
}

Task<void> MonitorProcess::pump_output(std::shared_ptr<MonitorProcess> self,
                                       std::shared_ptr<Stream> source) {
  std::array<char, 4096> buffer;
  auto& kept = self->output_;
  while (std::size_t count = co_await source->read_some(buffer)) {
    kept.append(buffer.data(), count);
    if (kept.size() > most_output) kept.erase(0, kept.size() - most_output);
  }
}

void MonitorProcess::add_console(base::Fd source) {
  add_console(std::shared_ptr<Stream>(async::make_stream(loop_, std::move(source))));
}

void MonitorProcess::add_console(std::shared_ptr<Stream> source) {
  drained_.reset();
  spawn_pump(pump_console(shared_from_this(), std::move(source)));
}

Task<void> MonitorProcess::supervise(std::shared_ptr<MonitorProcess> self) {
  auto status = co_await self->child_.wait();
  try {
    co_await async::within(Deadline::after(patience_after_exit), "reading its last words",
                           self->drained_.wait());
  } catch (const Error&) {
    // Somebody else holds a pipe: what has been read must do.
  }
  Ending ending{.monitor = self->spec_.monitor,
                .status = status,
                .fatal_line = self->watch_.fatal(),
                .halted = self->watch_.halted(),
                .rebooted = self->watch_.rebooted(),
                .said = self->said()};
  if (status.signal == 0 && self->spec_.code_words)
    ending.code_words = self->spec_.code_words(status.code);
  self->result_ = self->told_ && self->watch_.fatal().empty() ? *self->told_ : explain(ending);
  self->gone_.set();
}

std::string MonitorProcess::said() const {
  std::string log = spec_.log.empty() ? "" : end_of_file(spec_.log);
  return log.empty() || output_.empty() ? log + output_ : log + "\n" + output_;
}

void MonitorProcess::abandon() noexcept {
  console_ = nullptr;
  kill();
}

void MonitorProcess::end_with(std::string cause, bool orderly) noexcept {
  if (!alive()) return;  // its status says more
  if (!told_) told_ = Gone{orderly, std::move(cause)};
  kill();
}

Task<Gone> MonitorProcess::wait_gone() {
  auto self = shared_from_this();
  co_await self->gone_.wait();
  co_return self->result_;
}

Task<void> MonitorProcess::dies() {
  Gone gone = co_await wait_gone();
  throw Error(Error::Kind::host, gone.cause);
}

Task<void> MonitorProcess::guest_halted() {
  auto self = shared_from_this();
  co_await self->halted_.wait();
}

Task<void> starting(std::shared_ptr<MonitorProcess> process, Task<void> op) {
  std::exception_ptr failure;
  try {
    co_await async::unless(process->dies(), std::move(op));
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  // When it dies, a connection may end an instant before its exit is known; the exit says why.
  bool dead = !process->alive();
  try {
    co_await async::within(Deadline::after(dead ? 1s : 200ms), "", process->wait_gone());
  } catch (const Error&) {
  }
  process->kill();
  if (!process->is_gone()) std::rethrow_exception(failure);
  Gone gone = co_await process->wait_gone();
  std::string step;
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    step = error.what();
  } catch (const std::exception&) {
  }
  Error died(Error::Kind::host, gone.cause);
  if (!step.empty() && step != gone.cause) died.attach("when it ended", step);
  throw died;
}

}  // namespace attest::microvm
