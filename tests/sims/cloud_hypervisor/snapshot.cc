// vm.snapshot and vm.restore.
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "tests/sims/cloud_hypervisor/monitor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace attest::sims::cloud_hypervisor {
namespace {

namespace fs = std::filesystem;
constexpr Version with_on_demand{52, 0, 0};

fs::path directory_of(const json& body, const char* key) {
  std::string url = body.at(key);
  constexpr std::string_view scheme = "file://";
  if (!url.starts_with(scheme))
    throw failed({"Error from migration", "the URL '" + url + "' is not file://..."});
  fs::path dir = url.substr(scheme.size());
  if (!fs::is_directory(dir))
    throw failed({"Error from migration", "the directory '" + dir.string() + "' is not there",
                  os_error(ENOENT)});
  return dir;
}

// All of the memory file, read into memory of our own.
base::Fd read_memory(const std::string& file) {
  base::Fd from(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  base::Fd copy(base::check(::memfd_create("copied memory", MFD_CLOEXEC), "copying memory"));
  if (!from) throw failed({"The VM could not be restored", "memory-ranges", os_error(errno)});
  copy_sparse(from.get(), "/proc/self/fd/" + std::to_string(copy.get()));
  return copy;
}

}  // namespace

Task<void> Monitor::snapshot(const json& body) {
  if (!paused_)
    throw failed({"The VM could not be snapshotted", "Trying to snapshot while VM is running"});
  auto dir = directory_of(body, "destination_url");
  events_.tell("vm", "snapshotting");
  bool shared = false;
  auto zone = memory_zone_file(config_, shared);
  // The file of a shared zone is the memory itself, and stays where it is.
  std::string memory = !zone.empty() && shared ? zone : (dir / "memory-ranges").string();
  std::string failure;
  try {
    co_await vm_->save((dir / "state.json").string(), memory, json::object());
    if (memory == zone) base::write_file(dir / "memory-ranges", "");
    base::write_file(dir / "config.json", config_.dump());
  } catch (const std::exception& refused) {
    failure = refused.what();
  }
  if (!failure.empty()) throw failed({"The VM could not be snapshotted", failure});
  if (vsock_) vsock_->reset();
  events_.tell("vm", "snapshotted");
}

Task<void> Monitor::restore(json body, Fds fds) {
  if (!config_.is_null()) throw failed({"The VM could not be restored", "VM is already created"});
  auto dir = directory_of(body, "source_url");
  auto text = base::try_read_file(dir / "config.json");
  json config = json::parse(text.value_or(""), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object())
    throw failed({"The VM could not be restored", "config.json", "it is not JSON"});
  complete(config);
  bool modes = version_ >= with_on_demand;
  std::string mode = modes ? body.value("memory_restore_mode", "Copy") : "Copy";
  bool shared = false;
  auto zone = memory_zone_file(config, shared);
  SavedGuest saved;
  std::string failure;
  events_.tell("vm", "restoring");
  try {
    saved = read_saved((dir / "state.json").string());
  } catch (const std::exception& refused) {
    failure = refused.what();
  }
  if (!failure.empty()) throw failed({"The VM could not be restored", "state.json", failure});

  taps_.clear();
  std::size_t next = 0;
  if (body.contains("net_fds") && body["net_fds"].is_array())
    for (auto& entry : body["net_fds"]) {
      if (next >= fds.size())
        throw failed({"The VM could not be restored", "fewer descriptors than net_fds name"});
      taps_[entry.at("id")] = fds[next];
      next += entry.value("num_fds", 1);
    }
  std::string memory = (dir / "memory-ranges").string();
  if (saved.memory_file && !zone.empty()) {
    memory = zone;
  } else if (saved.memory_file && mode == "Copy") {
    copied_memory_ = read_memory(memory);
    memory = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(copied_memory_.get());
  }
  serial_ = std::make_unique<SerialEnd>(loop_, config.value("serial", json()),
                                        version_ >= Version{53, 0, 0});
  config_ = std::move(config);
  try {
    co_await launch(std::pair((dir / "state.json").string(), memory));
  } catch (const std::exception& refused) {
    failure = refused.what();
  }
  copied_memory_.reset();  // QEMU has it open
  if (!failure.empty()) {
    serial_.reset();
    config_ = nullptr;
    throw failed({"The VM could not be restored", failure});
  }
  paused_ = true;
  events_.tell("vm", "restored");
  if (modes && body.value("resume", false)) co_await resume();
}

}  // namespace attest::sims::cloud_hypervisor
