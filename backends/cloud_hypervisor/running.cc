#include "backends/cloud_hypervisor/running.h"

#include "attest/error.h"
#include "backends/cloud_hypervisor/serial.h"
#include "backends/microvm/timings.h"
#include "lib/async/aside.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/sys_error.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace attest::cloud_hypervisor {
namespace {

using namespace std::chrono_literals;

// Between two presses of the button: a guest that is still starting has not heard the first.
constexpr auto first_press_interval = 2s;
constexpr auto longest_press_interval = 15s;

}  // namespace

Running::Running(std::shared_ptr<Site> site)
    : site_(std::move(site)),
      loop_(site_->context.loop),
      dial_(std::make_unique<microvm::GuestDial>(loop_, uds())),
      memory_mb_(site_->context.config.memory_mb),
      changed_(loop_) {}

Running::~Running() { kill(); }

void Running::launch() {
  auto& context = site_->context;
  for (const char* stale : {api_socket, vsock_socket, serial_socket, serial_fifo, memory_file})
    ::unlink(site_->in_work_dir(stale).c_str());
  microvm::MonitorSpec spec;
  spec.monitor = "Cloud Hypervisor";
  spec.child.argv = command_line(context.config, site_->launch);
  spec.child.cwd = context.work_dir;
  spec.child.own_session = true;
  // It listens before the monitor is there: the first connection waits in the backlog.
  auto api = site_->in_work_dir(api_socket).string();
  spec.child.fds.emplace(api_fd, base::listen_unix(api));
  auto [events, theirs] = base::make_pipe();
  spec.child.fds.emplace(event_fd, std::move(theirs));
  spec.log = site_->in_work_dir(log_file);
  auto watched = std::make_shared<std::weak_ptr<microvm::MonitorProcess>>();
  process_ = microvm::MonitorProcess::start(loop_, std::move(spec), console_sink(watched));
  *watched = process_;
  api_ = std::make_shared<microvm::Api>(loop_, api, "Cloud Hypervisor");
  // Nothing is swallowed: they end the process with the cause, which is told then.
  auto ignore = [](std::exception_ptr) {};
  std::shared_ptr<Stream> stream = async::make_stream(loop_, std::move(events));
  asio::co_spawn(
      loop_, read_events(weak_from_this(), process_, stream, context.config.allow_reboot), ignore);
  asio::co_spawn(loop_, end_when_halted(process_, api_), ignore);
  // All from here on happens while the monitor starts.
  make_taps();
  if (context.config.cloud_hypervisor.serial == "file")
    fifo_ = make_fifo(site_->in_work_dir(serial_fifo));
}

void Running::make_taps() {
  auto& context = site_->context;
  for (auto& nic : context.network) {
    if (!context.plugs || nic.interface.empty()) continue;
    if (context.config.cloud_hypervisor.tap == "fd")
      taps_.emplace_back(context.plugs->open_tap(nic, /*vnet_header=*/true));
    else
      context.plugs->make_tap(nic);
  }
}

void Running::unplug() noexcept {
  auto& context = site_->context;
  for (auto& nic : context.network)
    if (context.plugs && !nic.interface.empty()) context.plugs->unplug(nic);
}

std::vector<int> Running::tap_fds(const Call& call) const {
  std::vector<int> fds;
  for (auto index : call.nics) fds.push_back(taps_.at(index).get());
  return fds;
}

void Running::join_console() {
  bool reboots = site_->context.config.allow_reboot;
  auto first = fifo_ ? open_fifo(loop_, fifo_)
                     : async::make_stream(
                           loop_, base::connect_unix(site_->in_work_dir(serial_socket).string()));
  if (reboots)
    console_ =
        restarting_console(loop_, std::move(first), process_, fifo_ ? std::move(fifo_) : base::Fd(),
                           site_->in_work_dir(serial_socket).string());
  else
    console_ = std::move(first);
  fifo_.reset();
  process_->add_console(console_);
}

Task<void> Running::configure(Self self, Deadline deadline) {
  auto site = self->site_;
  auto api = self->api_;
  auto& config = site->context.config;
  microvm::Timings timings("boot");
  auto files = [site] {
    site->finish();
    return true;
  };
  co_await async::aside(std::move(files));
  timings.done("files");
  if (memory_is_file(config)) make_memory_file(site->in_work_dir(memory_file), config.memory_mb);
  co_await api->wait_until_up(deadline);
  co_await api->call(ping_request(), deadline);
  timings.done("monitor");
  co_await api->call(create_request(config, site->launch), deadline);
  self->join_console();
  for (auto& call : nic_calls(config, site->context.network))
    co_await api->call_with(call.request, self->tap_fds(call), deadline);
  co_await api->call(simple_request("vm.boot"), deadline);
  timings.done("requests");
  timings.tell(site->context.say);
}

Task<void> Running::boot(Self self, Deadline deadline) {
  self->launch();
  auto process = self->process_;
  co_await microvm::starting(process, configure(self, deadline));
}

Task<void> Running::resize(Self self, std::optional<int> vcpus, std::optional<int> memory_mb,
                           Deadline deadline) {
  check_resize(self->site_->context.config, self->memory_mb_, vcpus, memory_mb);
  auto api = self->api_;
  co_await api->call(resize_request(vcpus, memory_mb), deadline);
  if (memory_mb) self->memory_mb_ = *memory_mb;
}

Task<Gone> Running::wait_gone(Self self) {
  if (!self->process_) throw Error(Error::Kind::usage, "it was never started");
  auto process = self->process_;
  co_return co_await process->wait_gone();
}

void Running::kill() noexcept {
  if (process_) process_->kill();
  if (!dial_) return;
  // Once only: the names are the next boot's then.
  dial_.reset();
  if (api_) api_->close();
  taps_.clear();
  unplug();
  changed_.pulse();
  for (const char* stale : {api_socket, vsock_socket, serial_socket, serial_fifo, memory_file})
    ::unlink(site_->in_work_dir(stale).c_str());
}

void Running::abandon() noexcept {
  if (process_) process_->abandon();
  kill();
}

Task<void> Running::type(Self self, std::string bytes) {
  auto console = self->console_;
  if (!console || self->is_gone()) throw Error(Error::Kind::host, "the machine is off");
  co_await console->write_all(bytes);
}

Task<void> Running::press_until_gone(Self self) {
  std::chrono::nanoseconds interval = first_press_interval;
  while (!self->is_gone()) {
    auto api = self->api_;
    try {
      co_await api->try_call(simple_request("vm.power-button"), Deadline::after(interval));
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

}  // namespace attest::cloud_hypervisor
