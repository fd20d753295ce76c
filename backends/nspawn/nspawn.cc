#include "backends/nspawn/nspawn.h"

#include "attest/error.h"
#include "backends/nspawn/channel.h"
#include "backends/nspawn/enter.h"
#include "backends/nspawn/prepare.h"
#include "backends/nspawn/running.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"

#include <algorithm>
#include <csignal>

namespace attest::nspawn {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

// An agent that the image starts has dialled long before its systemd says READY=1.
constexpr auto patience_after_ready = 2s;
// Entered processes are the last that a shutdown ends.
constexpr auto patience_for_reboot = 30s;
// Between two requests to power off: a systemd that is still starting has not heard the first.
constexpr auto first_request_interval = 500ms;
constexpr auto longest_request_interval = 8s;

// What the coroutines of one boot share.
struct Boot {
  asio::any_io_executor loop;
  std::shared_ptr<Site> site;
  std::shared_ptr<Running> running;
  std::string_view agent;  ///< to be carried in; empty: a shell
  std::function<void(std::string_view)> console;
  bool given_up = false;  ///< on the image's own agent
  int entered = 0;        ///< the launch that was entered last
};
using SharedBoot = std::shared_ptr<Boot>;

Task<std::unique_ptr<Stream>> accept_agent(SharedBoot boot) {
  base::Fd accepted = co_await async::accept_one(boot->site->listener);
  co_return async::make_stream(boot->loop, std::move(accepted));
}

// What was entered once and has ended is going down: its end, or the next launch, comes soon.
Task<std::unique_ptr<Stream>> enter_when_ready(SharedBoot boot) {
  if (boot->entered == boot->running->launches())
    co_await async::within(Deadline::after(patience_for_reboot), "waiting for it to reboot",
                           boot->running->launched_after(boot->entered));
  co_await boot->running->ready();
  boot->entered = boot->running->launches();
  auto leader = find_leader(boot->site->launch.cgroup);
  if (!leader) {
    // Its end is about to be known, which says more.
    co_await boot->running->wait_gone();
    throw Error(Error::Kind::host, "the container's first process was not found");
  }
  auto argv = boot->agent.empty() ? shell_argv() : agent_argv();
  co_return enter(boot->loop, std::move(*leader), std::move(argv), boot->agent, boot->console);
}

Task<void> no_agent_in_time(SharedBoot boot) {
  co_await boot->running->ready();
  asio::steady_timer timer(boot->loop, patience_after_ready);
  co_await timer.async_wait(asio::use_awaitable);
  boot->given_up = true;
  throw Error(Error::Kind::timeout, "the image's agent did not connect");
}

Task<std::unique_ptr<Stream>> first_connection(SharedBoot boot) {
  if (boot->site->agent_dials) {
    std::exception_ptr failure;
    try {
      co_return co_await async::unless(no_agent_in_time(boot), accept_agent(boot));
    } catch (const Error&) {
      failure = std::current_exception();
    }
    if (!boot->given_up) std::rethrow_exception(failure);
  }
  co_return co_await enter_when_ready(boot);
}

class Nspawn final : public Backend, private FileSharing, private StreamOpener {
 public:
  explicit Nspawn(BackendContext context) : context_(std::move(context)) {}
  ~Nspawn() override {
    if (running_) running_->abandon();
    clean_up();
  }

  std::string_view name() const override { return "nspawn"; }
  Task<std::unique_ptr<Stream>> boot(Deadline deadline) override;
  Task<void> shutdown(Deadline deadline) override;
  void kill() noexcept override {
    if (running_) running_->kill();
    clean_up();
  }
  Task<Gone> wait_gone(Deadline deadline) override;
  fs::path shared_dir() override { return shared_directory(context_); }
  FileSharing* file_sharing() override { return this; }
  StreamOpener* stream_opener() override { return this; }
  Task<Mount> share(fs::path host, std::string guest, bool writable, Deadline) override;
  Task<std::unique_ptr<Stream>> open_shell(Deadline deadline) override;

 private:
  Error error(Error::Kind kind, const std::string& what) const {
    return Error(kind, "machine '" + context_.machine + "' (nspawn): " + what);
  }
  // After the last process: cables, cgroup, what it wrote; then nobody outside need sweep.
  void clean_up() noexcept {
    if (site_) site_->remove();
    site_.reset();
    sweeper_.reset();
  }

  BackendContext context_;
  Outside::Socket sweeper_;
  std::shared_ptr<Site> site_;
  std::shared_ptr<Running> running_;
};

Task<std::unique_ptr<Stream>> Nspawn::boot(Deadline deadline) {
  if (running_ && !running_->is_gone()) throw error(Error::Kind::usage, "it is running already");
  kill();
  // Nothing is left of an attempt that fails, or that is cut off.
  struct Undo {
    Nspawn* self;
    ~Undo() {
      if (self) self->kill();
    }
  } undo{this};
  auto loop = context_.loop;
  auto cgroup = cgroup_place(context_);
  // First: it makes the cgroup, so there is none that nobody would remove.
  if (context_.outside)
    sweeper_ = co_await context_.outside->sweep_cgroup(cgroup.string(), deadline);
  site_ = prepare(context_, cgroup);
  auto site = site_;
  auto& config = context_.config;
  auto boot = std::make_shared<Boot>();
  boot->loop = loop;
  boot->site = site;
  if (config.nspawn.agent) boot->agent = context_.agent;
  boot->console = context_.console;
  // The Site lives as long as its launches: kill() ends those first.
  auto make_spec = [weak = std::weak_ptr<Site>(site), config] {
    auto held = weak.lock();
    if (!held || held->removed) throw Error(Error::Kind::host, "the machine has been switched off");
    return held->spec(config);
  };
  running_ = Running::start(loop, std::move(make_spec), std::move(site->notify),
                            config.allow_reboot, context_.console);
  auto running = running_;
  boot->running = running;

  std::exception_ptr failure;
  std::unique_ptr<Stream> first;
  try {
    first = co_await async::within(deadline, "waiting for the container to start",
                                   async::unless(running->dies(), first_connection(boot)));
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    try {
      std::rethrow_exception(failure);
    } catch (Error& cause) {
      if (auto advice = inotify_advice(running->output(), inotify_limit()); !advice.empty())
        cause.hint(advice);
      throw;
    }
  }
  Connect connect = [boot]() {
    return boot->site->agent_dials && !boot->given_up ? accept_agent(boot) : enter_when_ready(boot);
  };
  undo.self = nullptr;
  co_return make_channel(loop, running, std::move(first), std::move(connect));
}

// Asks its systemd until it is gone.
Task<void> power_off(std::shared_ptr<Running> running, fs::path cgroup) {
  std::chrono::nanoseconds interval = first_request_interval;
  running->expect_end();
  while (!running->is_gone()) {
    if (auto leader = find_leader(cgroup)) signal_leader(*leader, SIGRTMIN + 4);
    try {
      co_await async::within(Deadline::after(interval), "", running->wait_gone());
    } catch (const Error&) {
    }
    interval = std::min<std::chrono::nanoseconds>(interval * 2, longest_request_interval);
  }
}

Task<void> Nspawn::shutdown(Deadline deadline) {
  if (running_ && !running_->is_gone()) {
    auto running = running_;
    auto cgroup = site_->launch.cgroup;
    std::string step = "powering off machine '" + context_.machine + "' (nspawn)";
    try {
      co_await async::within(deadline, step, power_off(running, cgroup));
    } catch (Error& late) {
      late.hint(
          "its systemd was sent SIGRTMIN+4 (poweroff); a service that does not end may hold "
          "it up: look at the console's log");
      throw;
    }
  }
  clean_up();
}

Task<Gone> Nspawn::wait_gone(Deadline deadline) {
  if (!running_) throw error(Error::Kind::usage, "it was never booted");
  auto running = running_;
  co_return co_await async::within(
      deadline, "waiting for machine '" + context_.machine + "' to end", running->wait_gone());
}

Task<FileSharing::Mount> Nspawn::share(fs::path host, std::string guest, bool writable, Deadline) {
  // Those of the config have been there since its start; a running container's mounts are closed.
  MountConfig wanted{host.string(), guest, writable};
  auto& mounts = context_.config.mounts;
  if (std::find(mounts.begin(), mounts.end(), wanted) == mounts.end())
    throw error(Error::Kind::unsupported,
                "a container shares only the directories of the config's 'mounts'");
  co_return Mount{};
}

Task<std::unique_ptr<Stream>> Nspawn::open_shell(Deadline deadline) {
  if (!running_ || running_->is_gone()) throw error(Error::Kind::host, "it is not running");
  auto running = running_;
  auto site = site_;
  co_await async::within(deadline, "waiting for the container's systemd before entering it",
                         async::unless(running->dies(), running->ready()));
  auto leader = find_leader(site->launch.cgroup);
  if (!leader) throw error(Error::Kind::host, "the container's first process was not found");
  co_return enter(context_.loop, std::move(*leader), shell_argv(), {}, context_.console);
}

}  // namespace

std::unique_ptr<Backend> make_nspawn(BackendContext context) {
  check_config(context.machine, context.config);
  return std::make_unique<Nspawn>(std::move(context));
}

BackendEntry nspawn_backend(NspawnHost host) {
  return {.make = make_nspawn,
          .missing = [host](const MachineConfig& config) { return missing(host, config); },
          .wiring =
              [](const MachineConfig& config) {
                return network_of(config) == Network::veth ? Wiring::veth : Wiring::none;
              }};
}

}  // namespace attest::nspawn
