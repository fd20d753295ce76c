// The VM's life: boot, pause, reboot in place, resize, end.
#include "tests/sims/cloud_hypervisor/monitor.h"
#include "tests/sims/common/socket.h"

#include <unistd.h>

#include <system_error>

namespace attest::sims::cloud_hypervisor {

void Monitor::forget_guest(bool orderly) {
  if (vsock_) vsock_->detach();
  vsock_.reset();
  if (orderly && config_.contains("vsock") && config_["vsock"].is_object())
    ::unlink(config_["vsock"].value("socket", "").c_str());
  if (serial_) serial_->detach();
  vm_.reset();
  paused_ = false;
}

void Monitor::end() { forget_guest(true); }

Task<void> Monitor::launch(std::optional<std::pair<std::string, std::string>> restored) {
  auto description = describe(config_, taps_);
  vm_ =
      std::make_unique<GuestVm>(loop_, description, [this](GuestEvent event) { on_guest(event); });
  std::vector<std::string> failure;
  launching_ = true;
  try {
    if (restored)
      co_await vm_->start_from(restored->first, restored->second);
    else
      co_await vm_->start();
    if (serial_) serial_->attach(vm_->take_serial());
    if (config_.contains("vsock") && config_["vsock"].is_object()) {
      std::string path = config_["vsock"].value("socket", "");
      VsockSetup setup{
          .path = path, .partial_lines = version_ >= Version{47, 0, 0}, .trouble = &trouble_};
      vsock_ = std::make_unique<VsockBridge>(loop_, listen_new(path), setup);
      vsock_->attach(*vm_, restored.has_value());
    }
  } catch (const std::system_error& refused) {
    failure = {"Error creating the vsock backend", "Error binding to the host-side Unix socket",
               os_error(refused.code().value())};
  } catch (const std::exception& refused) {
    failure = {refused.what()};
  }
  launching_ = false;
  if (failure.empty()) co_return;
  forget_guest(false);
  throw failed(failure);
}

Task<void> Monitor::boot() {
  std::vector<std::string> failure;
  try {
    co_await launch(std::nullopt);
    if (config_.contains("balloon") && config_["balloon"].is_object())
      co_await vm_->set_balloon(static_cast<int>(config_["balloon"].value("size", 0ull) >> 20));
    co_await vm_->resume();
    if (vsock_) vsock_->resume();
  } catch (const Refusal& refused) {
    throw;
  } catch (const std::exception& refused) {
    failure = {"The VM could not boot", refused.what()};
  }
  if (failure.empty()) co_return;
  forget_guest(false);
  throw failed(failure);
}

Task<void> Monitor::create_and_boot(json config) {
  create(std::move(config));
  events_.tell("vm", "booting");
  co_await boot();
  events_.tell("vm", "booted");
}

Task<void> Monitor::pause() {
  must_be_booted("be paused");
  if (paused_) throw failed({"The VM could not be paused", "Invalid VM state transition"});
  events_.tell("vm", "pausing");
  if (vsock_) vsock_->pause();
  co_await vm_->pause();
  paused_ = true;
  events_.tell("vm", "paused");
}

Task<void> Monitor::resume() {
  must_be_booted("be resumed");
  if (!paused_) throw failed({"The VM could not be resumed", "Invalid VM state transition"});
  events_.tell("vm", "resuming");
  co_await vm_->resume();
  if (vsock_) vsock_->resume();
  paused_ = false;
  events_.tell("vm", "resumed");
}

Task<void> Monitor::shut_down() {
  co_await vm_->quit();
  forget_guest(true);
  events_.tell("vm", "shutdown");
}

Task<void> Monitor::reboot() {
  events_.tell("vm", "rebooting");
  co_await vm_->quit();
  forget_guest(true);
  co_await boot();
  events_.tell("vm", "rebooted");
}

// The guest has reset itself: it is built anew from its config, in this process.
Task<void> Monitor::restart() {
  auto lock = co_await one_at_a_time_.lock();
  if (!vm_) co_return;
  try {
    co_await reboot();
  } catch (const std::exception&) {
    finish_(1);
  }
}

void Monitor::on_guest(GuestEvent event) {
  switch (event) {
    case GuestEvent::off:
      events_.tell("vm", "shutdown");
      if (!stays_) {
        events_.tell("vmm", "shutdown");
        return finish_(0);
      }
      // Not within its own call.
      asio::post(loop_, [this] { forget_guest(true); });
      break;
    case GuestEvent::reset:
      asio::co_spawn(loop_, restart(), [](std::exception_ptr) {});
      break;
    case GuestEvent::panicked:
      events_.tell("guest", "panic", json{{"action", "pause"}});
      break;
    case GuestEvent::died:
      if (!launching_) finish_(1);
      break;
  }
}

Task<void> Monitor::resize(json body) {
  auto wanted = [&body](const char* key) -> std::optional<std::uint64_t> {
    if (!body.contains(key) || body[key].is_null()) return std::nullopt;
    return body[key].get<std::uint64_t>();
  };
  events_.tell("vm", "resizing");
  if (auto vcpus = wanted("desired_vcpus")) {
    auto most = config_["cpus"].value("max_vcpus", 1ull);
    if (*vcpus < config_["cpus"].value("boot_vcpus", 1ull) || *vcpus > most)
      throw failed({"The VM could not be resized", "Desired vCPU count exceeds maximum"});
    co_await vm_->plug_vcpus(static_cast<int>(*vcpus));
    config_["cpus"]["boot_vcpus"] = *vcpus;
  }
  if (auto ram = wanted("desired_ram")) {
    auto& memory = config_["memory"];
    auto have = (static_cast<std::uint64_t>(memory_mb(config_)) << 20) +
                memory.value("hotplugged_size", 0ull);
    if (*ram < have ||
        *ram - have + memory.value("hotplugged_size", 0ull) > memory.value("hotplug_size", 0ull))
      throw failed({"The VM could not be resized", "Error from memory manager",
                    "Insufficient hotplug memory"});
    if (*ram > have) co_await vm_->plug_memory(static_cast<int>((*ram - have) >> 20));
    memory["hotplugged_size"] = memory.value("hotplugged_size", 0ull) + *ram - have;
  }
  events_.tell("vm", "resized");
}

}  // namespace attest::sims::cloud_hypervisor
