#include "backends/cloud_hypervisor/cloud_hypervisor.h"

#include "attest/error.h"
#include "backends/cloud_hypervisor/running.h"
#include "lib/async/aside.h"
#include "lib/async/within.h"

namespace attest::cloud_hypervisor {
namespace {

namespace fs = std::filesystem;

class CloudHypervisor final : public Backend,
                              private Snapshotter,
                              private Resizer,
                              private StreamOpener,
                              private ConsoleInput {
 public:
  explicit CloudHypervisor(BackendContext context) : context_(std::move(context)) {}
  ~CloudHypervisor() override {
    if (running_) running_->abandon();
  }

  std::string_view name() const override { return "cloud_hypervisor"; }
  Task<std::unique_ptr<Stream>> boot(Deadline deadline) override;
  Task<void> shutdown(Deadline deadline) override;
  void kill() noexcept override {
    if (running_) running_->kill();
  }
  Task<Gone> wait_gone(Deadline deadline) override;

  Snapshotter* snapshotter() override { return this; }
  Resizer* resizer() override { return this; }
  StreamOpener* stream_opener() override { return this; }
  ConsoleInput* console_input() override {
    return context_.config.cloud_hypervisor.serial == "socket" ? this : nullptr;
  }

  SnapshotFacts facts() override;
  Task<std::unique_ptr<Stream>> save(fs::path dir, Deadline deadline) override;
  Task<std::unique_ptr<Stream>> restore(fs::path dir, Deadline deadline) override;
  RestoreSpans restore_spans() const override { return spans_; }
  Task<void> resize(std::optional<int> vcpus, std::optional<int> memory_mb,
                    Deadline deadline) override;
  Task<std::unique_ptr<Stream>> open_shell(Deadline deadline) override;
  Task<void> send(std::string bytes) override;

 private:
  Error error(Error::Kind kind, const std::string& what) const {
    return Error(kind, "machine '" + context_.machine + "' (cloud_hypervisor): " + what);
  }
  std::string step(const std::string& what) const {
    return what + " machine '" + context_.machine + "' (cloud_hypervisor)";
  }
  std::shared_ptr<Running> booted() const {
    if (!running_) throw error(Error::Kind::usage, "it was never booted");
    return running_;
  }
  std::shared_ptr<Running> running() const {
    auto found = booted();
    if (found->is_gone()) throw error(Error::Kind::host, "it is not running");
    return found;
  }
  Task<std::shared_ptr<Running>> fresh();

  BackendContext context_;
  std::shared_ptr<Site> site_;
  std::shared_ptr<Running> running_;
  RestoreSpans spans_;
};

// Leaves nothing of an attempt that fails, or that is cut off.
struct Attempt {
  std::shared_ptr<Running> running;
  ~Attempt() {
    if (running) running->kill();
  }
};

Task<std::shared_ptr<Running>> CloudHypervisor::fresh() {
  if (running_) {
    if (running_->alive()) throw error(Error::Kind::usage, "it is running already");
    // It is reaped, but its end may not have been told yet.
    auto last = running_;
    last->kill();
    if (!last->is_gone()) co_await Running::wait_gone(last);
  }
  running_.reset();
  if (!site_) {
    auto find = [context = context_] { return Site::find(context); };
    site_ = co_await async::aside(std::move(find));
  }
  running_ = std::make_shared<Running>(site_);
  co_return running_;
}

Task<std::unique_ptr<Stream>> CloudHypervisor::boot(Deadline deadline) {
  auto running = co_await fresh();
  Attempt attempt{running};
  co_await async::within(deadline, "waiting for Cloud Hypervisor to start",
                         Running::boot(running, deadline));
  auto stream = co_await async::within(deadline, "waiting for the guest to connect",
                                       Running::channel(running, false, deadline));
  attempt.running.reset();
  co_return stream;
}

Task<void> CloudHypervisor::shutdown(Deadline deadline) {
  if (!running_ || running_->is_gone()) co_return;
  auto running = running_;
  try {
    co_await async::within(deadline, step("powering off"), Running::press_until_gone(running));
  } catch (Error& late) {
    late.hint(
        "the guest was sent an ACPI power button; it must handle it (systemd-logind does), or be "
        "told to power off by a command");
    throw;
  }
}

Task<Gone> CloudHypervisor::wait_gone(Deadline deadline) {
  auto running = booted();
  co_return co_await async::within(deadline, step("waiting for the end of"),
                                   Running::wait_gone(running));
}

SnapshotFacts CloudHypervisor::facts() {
  if (!site_) site_ = Site::find(context_);
  return facts_of(*site_);
}

Task<std::unique_ptr<Stream>> CloudHypervisor::save(fs::path dir, Deadline deadline) {
  auto running = this->running();
  co_await Running::save(running, fs::absolute(dir), deadline);
  co_return co_await async::within(deadline, "waiting for the guest to connect again",
                                   Running::channel(running, true, deadline));
}

Task<std::unique_ptr<Stream>> CloudHypervisor::restore(fs::path dir, Deadline deadline) {
  auto running = co_await fresh();
  Attempt attempt{running};
  spans_ = {};
  spans_ = co_await async::within(deadline, "waiting for Cloud Hypervisor to load the snapshot",
                                  Running::restore(running, fs::absolute(dir), deadline));
  auto stream = co_await async::within(deadline, "waiting for the guest to connect again",
                                       Running::channel(running, true, deadline));
  attempt.running.reset();
  co_return stream;
}

Task<void> CloudHypervisor::resize(std::optional<int> vcpus, std::optional<int> memory_mb,
                                   Deadline deadline) {
  auto running = this->running();
  co_await Running::resize(running, vcpus, memory_mb, deadline);
}

Task<std::unique_ptr<Stream>> CloudHypervisor::open_shell(Deadline deadline) {
  auto running = this->running();
  co_return co_await async::within(deadline, "waiting for a shell of the guest",
                                   Running::shell(running, deadline));
}

Task<void> CloudHypervisor::send(std::string bytes) {
  auto running = this->running();
  co_await Running::type(running, std::move(bytes));
}

std::optional<Missing> missing(const MachineConfig& config) {
  auto wanted = wanted_program(config);
  std::string program = program_of(config);
  if (program.empty()) {
    // A path that is wrong is a mistake in the config, which boot() tells.
    if (wanted.find('/') != std::string::npos) return std::nullopt;
    return Missing{"cloud_hypervisor",
                   "the program '" + wanted +
                       "' was not found; install Cloud Hypervisor, or give its path in "
                       "ATTEST_CLOUD_HYPERVISOR"};
  }
  auto command = [&](const fs::path&, const fs::path& kernel) {
    return std::vector<std::string>{program,    "--kernel",  kernel.string(), "--cpus", "boot=1",
                                    "--memory", "size=128M", "--serial",      "tty",    "--console",
                                    "off"};
  };
  std::string why = microvm::why_no_guest(program, command);
  if (why.empty()) return std::nullopt;
  return Missing{
      "kvm", "Cloud Hypervisor runs no guest here: " + why + "; use a host whose KVM runs guests"};
}

std::string describe(const MachineConfig& config) {
  try {
    if (auto program = program_of(config); !program.empty()) {
      auto version = microvm::monitor_version(program);
      return "cloud_hypervisor " + std::to_string(version.major) + "." +
             std::to_string(version.minor);
    }
  } catch (const Error&) {
    // boot() will tell what is wrong
  }
  return "cloud_hypervisor";
}

}  // namespace

BackendEntry cloud_hypervisor_backend() {
  return {.make =
              [](BackendContext context) {
                return std::make_unique<CloudHypervisor>(std::move(context));
              },
          .missing = missing,
          .wiring = [](const MachineConfig&) { return Wiring::tap; },
          .describe = describe};
}

}  // namespace attest::cloud_hypervisor
