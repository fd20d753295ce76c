#include "backends/qemu/qemu.h"

#include "attest/error.h"
#include "backends/qemu/accel.h"
#include "backends/qemu/command_line.h"
#include "backends/qemu/prepare.h"
#include "backends/qemu/running.h"
#include "backends/qemu/shares.h"
#include "backends/qemu/virtiofsd.h"
#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/text.h"

#include <algorithm>

namespace attest::qemu {
namespace {

using namespace std::chrono_literals;

// Between two presses of the power button: a guest that is still starting has not heard the first.
constexpr auto first_press_interval = 2s;
constexpr auto longest_press_interval = 15s;

class Qemu final : public Backend, private ConsoleInput, private FileSharing, private LinkControl {
 public:
  explicit Qemu(BackendContext context) : context_(std::move(context)) {}
  ~Qemu() override {
    if (running_) running_->abandon();
  }

  std::string_view name() const override { return "qemu"; }
  Task<std::unique_ptr<Stream>> boot(Deadline deadline) override;
  Task<void> shutdown(Deadline deadline) override;
  void kill() noexcept override {
    if (running_) running_->kill();
    shares_.reset();
  }
  Task<Gone> wait_gone(Deadline deadline) override;
  std::unique_ptr<Stream> take_agent_port() override { return std::move(agent_port_); }
  std::filesystem::path shared_dir() override {
    return context_.config.start_script.empty() ? "" : script_shared_dir(context_);
  }
  FileSharing* file_sharing() override { return this; }
  ConsoleInput* console_input() override { return this; }
  LinkControl* link_control() override { return this; }
  Task<void> send(std::string bytes) override;
  Task<void> set_link(int vlan, bool plugged, Deadline deadline) override;
  Task<Mount> share(std::filesystem::path host, std::string guest, bool writable,
                    Deadline deadline) override;

 private:
  Error error(Error::Kind kind, const std::string& what) const {
    return Error(kind, "machine '" + context_.machine + "' (qemu): " + what);
  }
  std::shared_ptr<Running> booted() const {
    if (!running_) throw error(Error::Kind::usage, "it was never booted");
    return running_;
  }
  Task<bool> decide_kvm();
  std::string why_no_shares() const;

  BackendContext context_;
  std::optional<Parts> parts_;
  std::shared_ptr<Running> running_;
  std::unique_ptr<Stream> agent_port_;
  std::shared_ptr<Shares> shares_;
};

struct Channels {
  base::Fd shell, agent;
};

// QEMU has started when it speaks QMP: then it has taken all its arguments and opened all its
// files.
Task<Channels> connect(std::shared_ptr<Running> running, std::shared_ptr<Start> start,
                       Deadline deadline) {
  if (!start->listening) {
    co_await running->attach_qmp(std::move(start->qmp), deadline);
    co_return Channels{std::move(start->shell), std::move(start->agent)};
  }
  base::Fd qmp = co_await async::accept_one(start->qmp);
  Channels channels;
  channels.shell = co_await async::accept_one(start->shell);
  if (start->agent) channels.agent = co_await async::accept_one(start->agent);
  co_await running->attach_qmp(std::move(qmp), deadline);
  co_return channels;
}

Task<bool> Qemu::decide_kvm() {
  AccelChoice choice = co_await choose_accel_async(context_.config);
  if (!choice.kvm && wanted_accel(context_.config) == Accel::kvm)
    throw error(Error::Kind::unsupported, "KVM was asked for and cannot be used: " + choice.reason)
        .hint("set accel to \"auto\" (or ATTEST_ACCEL=auto) to run with emulation here");
  co_return choice.kvm;
}

Task<std::unique_ptr<Stream>> Qemu::boot(Deadline deadline) {
  if (running_ && running_->alive()) throw error(Error::Kind::usage, "it is running already");
  auto loop = context_.loop;
  if (!parts_) parts_ = find_parts(context_);
  bool kvm = co_await decide_kvm();
  agent_port_.reset();
  std::string why_no_sharing = why_no_shares();
  int share_slots =
      why_no_sharing.empty() ? static_cast<int>(context_.config.mounts.size()) + 1 : 0;
  auto start = std::make_shared<Start>(prepare(context_, *parts_, kvm, share_slots));
  auto running = Running::start(loop, std::move(start->child), std::move(start->serial),
                                std::move(start->output), context_.console);
  running_ = running;
  shares_ = std::make_shared<Shares>(loop, running, context_.work_dir, share_slots, why_no_sharing);

  std::exception_ptr failure;
  Channels channels;
  try {
    channels =
        co_await async::within(deadline, "waiting for QEMU to start",
                               async::unless(running->dies(), connect(running, start, deadline)));
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    // When QEMU dies, the connection may end an instant before its exit is known; the exit says
    // why.
    bool dead = !running->alive();
    try {
      co_await async::within(Deadline::after(dead ? 1s : 200ms), "", running->wait_gone());
      dead = true;
    } catch (const Error&) {
    }
    if (dead && running->is_gone()) {
      Gone gone = co_await running->wait_gone();
      throw error(Error::Kind::host, gone.cause).during("starting QEMU");
    }
    running->kill();
    std::rethrow_exception(failure);
  }
  std::unique_ptr<Stream> agent;
  if (channels.agent) agent = async::make_stream(loop, std::move(channels.agent));
  if (!channels.shell) co_return agent;
  agent_port_ = std::move(agent);
  co_return async::make_stream(loop, std::move(channels.shell));
}

std::string Qemu::why_no_shares() const {
  auto& config = context_.config;
  if (!config.start_script.empty())
    return "a start_script makes its machine itself, so no directory can be shared with it";
  if (!can_share(config))
    return "directories are shared only with machines of type q35 whose memory is not defined by "
           "extra_args";
  if (find_virtiofsd().empty())
    return "the program virtiofsd was not found (Debian 12: qemu-system-common; later: virtiofsd)";
  return "";
}

Task<FileSharing::Mount> Qemu::share(std::filesystem::path host, std::string, bool writable,
                                     Deadline deadline) {
  booted();
  auto shares = shares_;
  if (!shares) throw error(Error::Kind::guest, "it is off");
  co_return co_await shares->share(std::move(host), writable, deadline);
}

// Presses the power button until the guest is gone.
Task<void> power_down(std::shared_ptr<Running> running) {
  std::chrono::nanoseconds interval = first_press_interval;
  while (!running->is_gone()) {
    try {
      if (running->qmp())
        co_await running->qmp()->execute("system_powerdown", "", Deadline::after(interval));
    } catch (const Error&) {
      // It is going, or QEMU is stopped: the wait below tells.
    }
    try {
      co_await async::within(Deadline::after(interval), "", running->wait_gone());
    } catch (const Error&) {
    }
    interval = std::min<std::chrono::nanoseconds>(interval * 2, longest_press_interval);
  }
}

Task<void> Qemu::shutdown(Deadline deadline) {
  if (!running_ || running_->is_gone()) co_return;
  auto running = running_;
  std::string step = "powering off machine '" + context_.machine + "' (qemu)";
  try {
    co_await async::within(deadline, step, power_down(running));
  } catch (Error& late) {
    late.hint(
        "the guest was sent an ACPI power button; it must handle it (systemd-logind does), "
        "or be told to power off by a command");
    throw;
  }
}

Task<Gone> Qemu::wait_gone(Deadline deadline) {
  auto running = booted();
  co_return co_await async::within(
      deadline, "waiting for machine '" + context_.machine + "' to end", running->wait_gone());
}

Task<void> Qemu::send(std::string bytes) {
  auto running = booted();
  co_await running->type(std::move(bytes));
}

Task<void> Qemu::set_link(int vlan, bool plugged, Deadline deadline) {
  auto running = booted();
  for (std::size_t i = 0; i < context_.network.size(); ++i) {
    if (context_.network[i].vlan != vlan || !running->qmp()) continue;
    std::string arguments =
        "{\"name\": \"" + nic_id(i) + "\", \"up\": " + (plugged ? "true" : "false") + "}";
    co_await running->qmp()->execute("set_link", arguments, deadline);
  }
}

std::optional<Missing> missing(const MachineConfig& config) {
  bool named = config.qemu.binary.find('/') == std::string::npos;
  // A path that is wrong is a mistake in the config, which boot() tells; a name is looked up here.
  if (config.start_script.empty() && named && async::find_program(config.qemu.binary).empty())
    return Missing{"qemu", "the program '" + config.qemu.binary +
                               "' was not found; install QEMU (Debian: qemu-system-x86)"};
  if (wanted_accel(config) != Accel::kvm) return std::nullopt;
  AccelChoice choice = choose_accel(config);
  if (choice.kvm) return std::nullopt;
  return Missing{"kvm", choice.reason + "; use a host whose KVM runs guests, or accel \"auto\""};
}

std::string describe(const MachineConfig& config) {
  try {
    return choose_accel(config).kvm ? "qemu/kvm" : "qemu/tcg";
  } catch (const Error&) {
    return "qemu";  // boot() will tell what is wrong
  }
}

}  // namespace

std::unique_ptr<Backend> make_qemu(BackendContext context) {
  return std::make_unique<Qemu>(std::move(context));
}

BackendEntry qemu_backend() {
  return {.make = make_qemu, .missing = missing, .describe = describe};
}

}  // namespace attest::qemu
