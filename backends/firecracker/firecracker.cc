#include "backends/firecracker/firecracker.h"

#include "attest/error.h"
#include "backends/firecracker/running.h"
#include "lib/async/aside.h"
#include "lib/async/child.h"
#include "lib/async/within.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace attest::firecracker {
namespace {

namespace fs = std::filesystem;

class Firecracker final : public Backend, private Snapshotter, private StreamOpener {
 public:
  explicit Firecracker(BackendContext context) : context_(std::move(context)) {}
  ~Firecracker() override {
    if (running_) running_->abandon();
  }

  std::string_view name() const override { return "firecracker"; }
  Task<std::unique_ptr<Stream>> boot(Deadline deadline) override;
  Task<void> shutdown(Deadline deadline) override;
  void kill() noexcept override {
    if (running_) running_->kill();
  }
  Task<Gone> wait_gone(Deadline deadline) override;

  Snapshotter* snapshotter() override { return this; }
  StreamOpener* stream_opener() override { return this; }
  SnapshotFacts facts() override;
  Task<std::unique_ptr<Stream>> save(fs::path dir, Deadline deadline) override;
  Task<std::unique_ptr<Stream>> restore(fs::path dir, Deadline deadline) override;
  RestoreSpans restore_spans() const override { return spans_; }
  Task<std::unique_ptr<Stream>> open_shell(Deadline deadline) override;

 private:
  Error error(Error::Kind kind, const std::string& what) const {
    return Error(kind, "machine '" + context_.machine + "' (firecracker): " + what);
  }
  std::string step(const std::string& what) const {
    return what + " machine '" + context_.machine + "' (firecracker)";
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

Task<std::shared_ptr<Running>> Firecracker::fresh() {
  if (running_) {
    if (running_->alive()) throw error(Error::Kind::usage, "it is running already");
    // It is reaped, but its end may not have been told yet.
    auto last = running_;
    last->kill();
    co_await Running::wait_gone(last);
  }
  running_.reset();
  if (!site_) {
    auto find = [context = context_] { return Site::find(context); };
    site_ = co_await async::aside(std::move(find));
  }
  running_ = std::make_shared<Running>(site_);
  co_return running_;
}

Task<std::unique_ptr<Stream>> Firecracker::boot(Deadline deadline) {
  auto running = co_await fresh();
  // Nothing is left of an attempt that fails, or that is cut off.
  struct Undo {
    std::shared_ptr<Running> running;
    ~Undo() {
      if (running) running->kill();
    }
  } undo{running};
  co_await async::within(deadline, "waiting for Firecracker to start",
                         Running::boot(running, deadline));
  auto stream = co_await async::within(deadline, "waiting for the guest to connect",
                                       Running::channel(running, false, deadline));
  undo.running.reset();
  co_return stream;
}

Task<void> Firecracker::shutdown(Deadline deadline) {
  if (!running_ || running_->is_gone()) co_return;
  auto running = running_;
  try {
    co_await async::within(deadline, step("powering off"), Running::press_until_gone(running));
  } catch (Error& late) {
    late.hint(
        "the guest was sent Ctrl-Alt-Del; it must handle it (systemd does, with a keyboard's "
        "driver), or be told to power off by a command");
    throw;
  }
}

Task<Gone> Firecracker::wait_gone(Deadline deadline) {
  auto running = booted();
  co_return co_await async::within(deadline, step("waiting for the end of"),
                                   Running::wait_gone(running));
}

SnapshotFacts Firecracker::facts() {
  if (!site_) site_ = Site::find(context_);
  auto& launch = site_->launch;
  for (auto& pmem : context_.config.firecracker.pmem_devices)
    if (!pmem.read_only)
      throw error(Error::Kind::unsupported,
                  "a machine with a 'pmem_devices' that it writes to "
                  "cannot be saved: the file would not be part of it")
          .hint("make it read-only, or use 'disks'");
  SnapshotFacts facts;
  facts.monitor = "Firecracker " + launch.version.text();
  facts.format = base::trim(microvm::ask_program(launch.program, "--snapshot-version"));
  facts.binary = launch.program;
  facts.kernel = launch.kernel;
  facts.cpu = context_.config.firecracker.cpu_template;
  for (auto& drive : launch.drives)
    if (drive.read_only) facts.disks.push_back(drive.file);
  for (auto& pmem : context_.config.firecracker.pmem_devices)
    facts.disks.push_back(fs::absolute(pmem.path));
  return facts;
}

Task<std::unique_ptr<Stream>> Firecracker::save(fs::path dir, Deadline deadline) {
  auto running = this->running();
  co_await Running::save(running, fs::absolute(dir), deadline);
  co_return co_await async::within(deadline, "waiting for the guest to connect again",
                                   Running::channel(running, true, deadline));
}

Task<std::unique_ptr<Stream>> Firecracker::restore(fs::path dir, Deadline deadline) {
  auto running = co_await fresh();
  struct Undo {
    std::shared_ptr<Running> running;
    ~Undo() {
      if (running) running->kill();
    }
  } undo{running};
  spans_ = {};
  spans_ = co_await async::within(deadline, "waiting for Firecracker to load the snapshot",
                                  Running::restore(running, fs::absolute(dir), deadline));
  auto stream = co_await async::within(deadline, "waiting for the guest to connect again",
                                       Running::channel(running, true, deadline));
  undo.running.reset();
  co_return stream;
}

Task<std::unique_ptr<Stream>> Firecracker::open_shell(Deadline deadline) {
  auto running = this->running();
  co_return co_await async::within(deadline, "waiting for a shell of the guest",
                                   Running::shell(running, deadline));
}

std::string program_of(const MachineConfig& config) {
  return microvm::find_monitor(config.firecracker.binary, "firecracker", "ATTEST_FIRECRACKER");
}

std::optional<Missing> missing(const MachineConfig& config) {
  auto wanted =
      microvm::wanted_program(config.firecracker.binary, "firecracker", "ATTEST_FIRECRACKER");
  std::string program = program_of(config);
  if (program.empty()) {
    // A path that is wrong is a mistake in the config, which boot() tells.
    if (wanted.find('/') != std::string::npos) return std::nullopt;
    return Missing{"firecracker", "the program '" + wanted +
                                      "' was not found; install Firecracker, or give its path in "
                                      "ATTEST_FIRECRACKER"};
  }
  auto command = [&](const fs::path& dir, const fs::path& kernel) {
    base::write_file(dir / "config.json", probe_config(kernel));
    return std::vector<std::string>{program, "--no-api", "--config-file",
                                    (dir / "config.json").string()};
  };
  std::string why = microvm::why_no_guest(program, command);
  if (why.empty()) return std::nullopt;
  return Missing{"kvm",
                 "Firecracker runs no guest here: " + why + "; use a host whose KVM runs guests"};
}

std::string describe(const MachineConfig& config) {
  try {
    if (auto program = program_of(config); !program.empty())
      return "firecracker " + microvm::monitor_version(program).text();
  } catch (const Error&) {
    // boot() will tell what is wrong
  }
  return "firecracker";
}

}  // namespace

BackendEntry firecracker_backend() {
  return {
      .make =
          [](BackendContext context) { return std::make_unique<Firecracker>(std::move(context)); },
      .missing = missing,
      .wiring = [](const MachineConfig&) { return Wiring::tap; },
      .describe = describe};
}

}  // namespace attest::firecracker
