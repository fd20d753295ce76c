// The guest's life: start, pause, snapshot, end.
#include "tests/sims/firecracker/fault.h"
#include "tests/sims/firecracker/monitor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace attest::sims::firecracker {
namespace {

void check_writable(const std::string& path, const char* which) {
  base::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!fd)
    throw Fault(std::string("Create snapshot error: Cannot perform open on the ") + which +
                " backing file: " + os_error());
}

}  // namespace

void Monitor::on_guest(GuestEvent event) {
  switch (event) {
    case GuestEvent::off:
      // Its CPUs halt, and the process stays.
      if (button_) finish_(0);
      break;
    case GuestEvent::reset:
      log_.info("Vmm is stopping.");
      finish_(0);
      break;
    case GuestEvent::panicked:
      break;
    case GuestEvent::died:
      if (launching_) break;
      log_.error("the guest behind the stand-in has ended: " + vm_->last_words());
      finish_(1);
      break;
  }
}

void Monitor::forget_guest() {
  if (vsock_) vsock_->detach();
  serial_.reset();
  vm_.reset();
}

Task<void> Monitor::launch(std::optional<std::pair<std::string, std::string>> restored) {
  auto description = resources_.describe(!restored);
  vm_ =
      std::make_unique<GuestVm>(loop_, description, [this](GuestEvent event) { on_guest(event); });
  std::string failure;
  launching_ = true;
  try {
    if (restored)
      co_await vm_->start_from(restored->first, restored->second);
    else
      co_await vm_->start();
    serial_ = std::make_unique<Serial>(loop_, vm_->take_serial(), resources_.serial);
    if (resources_.vsock_listener) {
      VsockSetup setup{.path = resources_.vsock["uds_path"],
                       .deaf_after_pause = version_ < Version{1, 17, 0},
                       .trouble = &trouble_};
      vsock_ = std::make_unique<VsockBridge>(loop_, std::move(resources_.vsock_listener), setup);
    }
    if (vsock_) vsock_->attach(*vm_, restored.has_value());
  } catch (const std::exception& refused) {
    failure = refused.what();
  }
  launching_ = false;
  if (failure.empty()) co_return;
  forget_guest();
  throw Fault(failure);
}

Task<void> Monitor::start() {
  std::string failure;
  try {
    resources_.check_kernel(version_);
    co_await launch(std::nullopt);
    if (!resources_.balloon.is_null()) co_await vm_->set_balloon(resources_.balloon["amount_mib"]);
    co_await resume();
  } catch (const std::exception& refused) {
    failure = refused.what();
  }
  if (failure.empty()) co_return;
  forget_guest();
  throw Fault("Start microvm error: " + failure);
}

Task<void> Monitor::pause() {
  if (vsock_) vsock_->pause();
  co_await vm_->pause();
  paused_ = true;
}

Task<void> Monitor::resume() {
  co_await vm_->resume();
  if (vsock_) vsock_->resume();
  paused_ = false;
}

Task<void> Monitor::create_snapshot(const json& body) {
  must_run();
  if (!paused_)
    throw Fault(
        "Create snapshot error: Cannot save the microVM state: Operation not allowed: save/restore "
        "unavailable while running");
  std::string state = body["snapshot_path"], memory = body["mem_file_path"];
  check_writable(state, "snapshot");
  check_writable(memory, "memory");
  json config = resources_.saved();
  config["snapshot_version"] = snapshot_version(version_);
  std::string failure;
  try {
    co_await vm_->save(state, memory, config);
  } catch (const Error& refused) {
    failure = refused.what();
  }
  if (!failure.empty())
    throw Fault("Create snapshot error: Cannot save the microVM state: " + failure);
  if (vsock_) vsock_->reset();
}

namespace {

// Which files and devices a load wants, with its overrides. Throws Fault.
json saved_config(const json& body, const Version& version) {
  const std::string step = "Failed to get snapshot state from file: ";
  std::string path = body["snapshot_path"];
  if (::access(path.c_str(), R_OK) != 0)
    throw Fault(step + "Failed to open snapshot file: " + os_error());
  json config;
  try {
    config = read_saved(path).config;
  } catch (const std::exception& refused) {
    throw Fault(step + "Failed to load snapshot state from file: " + refused.what());
  }
  int format = config.value("snapshot_version", 0);
  if (format != snapshot_version(version))
    throw Fault(step + "Failed to load snapshot state from file: Invalid data version: " +
                std::to_string(format) + ".0.0");
  for (auto& entry : body.value("network_overrides", json::array())) {
    bool found = false;
    for (auto& nic : config["network-interfaces"])
      if (nic["iface_id"] == entry["iface_id"]) {
        nic["host_dev_name"] = entry["host_dev_name"];
        found = true;
      }
    if (!found) throw Fault(step + "Unknown Network Device.");
  }
  if (json vsock = body.value("vsock_override", json()); !vsock.is_null()) {
    if (config["vsock"].is_null()) throw Fault(step + "Unknown Vsock Device.");
    config["vsock"]["uds_path"] = vsock["uds_path"];
  }
  return config;
}

void check_memory(const std::string& path, std::uint64_t megabytes) {
  const std::string step =
      "Failed to load guest memory: Error creating guest memory from file: Failed to load guest "
      "memory: ";
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct ::stat found{};
  if (!fd || ::fstat(fd.get(), &found) != 0) throw Fault(step + os_error());
  if (static_cast<std::uint64_t>(found.st_size) < megabytes << 20)
    throw Fault(step + "the file is shorter than the guest's memory");
}

}  // namespace

Task<void> Monitor::load_snapshot(const json& body) {
  const std::string body_step = "An error occurred when deserializing the json body of a request: ";
  bool backend = body.contains("mem_backend") && !body["mem_backend"].is_null();
  bool old = body.contains("mem_file_path") && !body["mem_file_path"].is_null();
  if (backend && old)
    throw Fault(body_step +
                "too many fields: either `mem_backend` or `mem_file_path` exclusively is "
                "required.");
  if (!backend && !old)
    throw Fault(body_step + "missing field: either `mem_backend` or `mem_file_path` is required.");
  must_not_run();
  if (boot_path_)
    throw Fault(
        "Load snapshot error: Loading a microVM snapshot not allowed after configuring "
        "boot-specific resources.");
  std::string failure;
  try {
    std::string memory = backend ? body["mem_backend"]["backend_path"] : body["mem_file_path"];
    json config = saved_config(body, version_);
    if (backend && body["mem_backend"]["backend_type"] == "Uffd")
      throw Fault(
          "Failed to load guest memory: Error creating guest memory from uffd: this stand-in loads "
          "memory from files only");
    if (config["machine-config"]["huge_pages"] == "2M")
      throw Fault(
          "Failed to load guest memory: Error creating guest memory from file: Cannot restore "
          "hugetlbfs backed snapshot by mapping the memory file. Please use uffd.");
    check_memory(memory, config["machine-config"]["mem_size_mib"]);
    try {
      resources_.restore(config);
      resources_.machine["track_dirty_pages"] =
          body.value("track_dirty_pages", false) || body.value("enable_diff_snapshots", false);
    } catch (const Fault& refused) {
      throw Fault(
          std::string("Failed to build microVM from snapshot: Failed to restore devices: ") +
          refused.what());
    }
    co_await launch(std::pair(body["snapshot_path"].get<std::string>(), memory));
  } catch (const std::exception& refused) {
    failure = refused.what();
  }
  if (!failure.empty())
    throw Fault("Load snapshot error: Failed to restore from snapshot: " + failure, true);
  paused_ = true;
  if (body.value("resume_vm", false)) co_await resume();
}

}  // namespace attest::sims::firecracker
