#include "backends/firecracker/running.h"

#include "attest/error.h"
#include "backends/microvm/channel.h"
#include "backends/microvm/timings.h"
#include "lib/async/aside.h"
#include "lib/async/within.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace attest::firecracker {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

// For a guest that reboots in place: nobody else has a deadline for that.
constexpr auto patience_with_restart = 60s;
// A guest that went on from a snapshot notices at once that its connection has ended.
constexpr auto patience_with_dialling = 2s;
constexpr auto between_dials = 250ms;
// Between two presses of the keys: a guest that is still starting has not heard the first.
constexpr auto first_press_interval = 2s;
constexpr auto longest_press_interval = 15s;

void make_empty(const fs::path& file) {
  base::Fd made(base::check(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
                            "making '" + file.string() + "'"));
}

}  // namespace

Running::Running(std::shared_ptr<Site> site)
    : site_(std::move(site)),
      loop_(site_->context.loop),
      dial_(std::make_unique<microvm::GuestDial>(loop_, uds())),
      changed_(loop_),
      gone_(loop_) {}

Running::~Running() { kill(); }

void Running::launch() {
  auto& context = site_->context;
  for (const char* stale : {api_socket, vsock_socket, console_fifo})
    ::unlink(site_->in_work_dir(stale).c_str());
  make_empty(site_->in_work_dir(log_file));  // older versions do not make them
  make_empty(site_->in_work_dir(metrics_file));
  bool serial = has_serial(site_->launch.version);
  microvm::MonitorSpec spec;
  spec.monitor = "Firecracker";
  spec.child.argv = command_line(context.config, site_->launch);
  spec.child.cwd = context.work_dir;
  spec.child.own_session = true;
  spec.stdout_is_console = !serial;
  spec.log = site_->in_work_dir(log_file);
  spec.code_words = exit_words;
  process_ = microvm::MonitorProcess::start(loop_, std::move(spec), context.console);
  api_ =
      std::make_shared<microvm::Api>(loop_, site_->in_work_dir(api_socket).string(), "Firecracker");
  asio::co_spawn(loop_, supervise(shared_from_this(), process_), [](std::exception_ptr) {});
  // All from here on happens while the monitor starts.
  for (auto& nic : context.network)
    if (context.plugs && !nic.interface.empty()) context.plugs->make_tap(nic);
  if (!serial) return;
  auto path = site_->in_work_dir(console_fifo);
  base::check(::mkfifo(path.c_str(), 0600), "making the FIFO '" + path.string() + "'");
  fifo_.reset(base::check(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC),
                          "opening '" + path.string() + "'"));
  ::fcntl(fifo_.get(), F_SETPIPE_SZ, 1 << 20);  // it drops what does not fit
  process_->add_console(base::Fd(base::check(
      ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "opening '" + path.string() + "'")));
}

void Running::unplug() noexcept {
  auto& context = site_->context;
  for (auto& nic : context.network)
    if (context.plugs && !nic.interface.empty()) context.plugs->unplug(nic);
}

Task<void> Running::configure(Self self, Deadline deadline) {
  auto site = self->site_;
  auto api = self->api_;
  microvm::Timings timings("boot");
  auto files = [site] {
    site->finish();
    return true;
  };
  co_await async::aside(std::move(files));
  timings.done("files");
  auto requests = boot_requests(site->context.config, site->launch, site->context.network);
  co_await api->wait_until_up(deadline);
  timings.done("monitor");
  co_await api->call_all(std::move(requests), deadline);
  self->fifo_.reset();
  timings.done("requests");
  timings.tell(site->context.say);
}

Task<void> Running::boot(Self self, Deadline deadline) {
  self->launch();
  auto process = self->process_;
  co_await microvm::starting(process, configure(self, deadline));
}

Task<void> Running::end_when_halted(std::shared_ptr<microvm::MonitorProcess> process) {
  co_await async::unless(process->dies(), process->guest_halted());
  // A guest has no way to switch Firecracker off: its processors stand still for ever.
  process->end_with("the guest powered off", true);
}

Task<void> Running::supervise(Self self, std::shared_ptr<microvm::MonitorProcess> process) {
  asio::co_spawn(self->loop_, end_when_halted(process), [](std::exception_ptr) {});
  Gone gone = co_await process->wait_gone();
  if (self->dial_) self->unplug();  // else kill() has, and the next boot may have plugged
  bool restarts = self->site_->context.config.allow_reboot && !self->stopping_ && gone.orderly &&
                  !process->watch().halted() && process == self->process_;
  if (restarts) {
    std::string failure;
    try {
      co_await boot(self, Deadline::after(patience_with_restart));
      self->changed_.pulse();
      co_return;
    } catch (const std::exception& error) {
      failure = error.what();
    }
    gone = {false, "the guest rebooted, and Firecracker could not be started again: " + failure};
  }
  if (self->gone_.is_set() || process != self->process_) co_return;
  self->result_ = gone;
  self->gone_.set();
  self->changed_.pulse();
}

Task<Gone> Running::wait_gone(Self self) {
  co_await self->gone_.wait();
  co_return self->result_;
}

Task<void> Running::dies(Self self) {
  Gone gone = co_await wait_gone(self);
  throw Error(Error::Kind::host, gone.cause);
}

void Running::kill() noexcept {
  stopping_ = true;
  if (process_) process_->kill();
  if (!dial_) return;
  // Once only: the names are the next boot's then.
  dial_.reset();
  unplug();
  for (const char* stale : {api_socket, vsock_socket}) ::unlink(site_->in_work_dir(stale).c_str());
}

void Running::abandon() noexcept {
  if (process_) process_->abandon();
  kill();
}

Task<std::unique_ptr<Stream>> Running::dialled(Self self, Deadline deadline) {
  if (!self->dial_) throw Error(Error::Kind::host, "the machine was switched off");
  co_return co_await self->dial_->next(deadline);
}

Task<std::unique_ptr<Stream>> Running::greeting(Self self, bool again, Deadline deadline) {
  if (!self->site_->parts.agent_greets)
    co_return co_await microvm::dial_guest(self->loop_, self->uds(), microvm::shell_port, deadline);
  if (!again) co_return co_await dialled(self, deadline);
  auto limit = deadline.earlier(Deadline::after(patience_with_dialling));
  while (true) {
    try {
      co_return co_await dialled(self, limit);
    } catch (const Error&) {
      if (deadline.passed() || !self->dial_) throw;
    }
    try {
      co_return co_await microvm::dial_guest_once(self->loop_, self->uds(), microvm::agent_port,
                                                  deadline.earlier(Deadline::after(2500ms)));
    } catch (const Error&) {
      if (deadline.passed()) throw;
    }
    limit = deadline.earlier(Deadline::after(between_dials));
  }
}

// Ends when a channel has nothing more to wait for: the machine is gone, or its guest was given
// another channel.
Task<void> Running::replaced(Self self, int connections) {
  while (!self->gone_.is_set() && self->connections_ == connections) co_await self->changed_.next();
  throw Error(Error::Kind::host, "the connection to the guest has ended");
}

Task<std::unique_ptr<Stream>> Running::channel(Self self, bool again, Deadline deadline) {
  int number = ++self->connections_;
  self->changed_.pulse();
  auto first = co_await async::unless(dies(self), greeting(self, again, deadline));
  struct Next {
    static Task<std::unique_ptr<Stream>> come(Self self, int number) {
      co_return co_await async::unless(replaced(self, number),
                                       greeting(self, false, Deadline::never()));
    }
  };
  microvm::Connect connect = [self, number] { return Next::come(self, number); };
  co_return microvm::make_channel(self->loop_, std::move(first), std::move(connect));
}

Task<std::unique_ptr<Stream>> Running::shell(Self self, Deadline deadline) {
  co_return co_await async::unless(
      dies(self), microvm::dial_guest(self->loop_, self->uds(), microvm::shell_port, deadline));
}

Task<void> Running::press_until_gone(Self self) {
  std::chrono::nanoseconds interval = first_press_interval;
  self->stopping_ = true;
  while (!self->is_gone()) {
    auto api = self->api_;
    try {
      co_await api->try_call(ctrl_alt_del_request(), Deadline::after(interval));
    } catch (const Error&) {
      // It is going: the wait below tells.
    }
    try {
      co_await async::within(Deadline::after(interval), "", wait_gone(self));
    } catch (const Error&) {
    }
    interval = std::min<std::chrono::nanoseconds>(interval * 2, longest_press_interval);
  }
}

}  // namespace attest::firecracker
