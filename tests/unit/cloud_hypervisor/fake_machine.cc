#include "fake_machine.h"

#include "backends/cloud_hypervisor/cloud_hypervisor.h"
#include "backends/microvm/monitor_program.h"
#include "lib/base/fd.h"
#include "lib/base/text.h"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

namespace attest::cloud_hypervisor {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class FakePlugs final : public Plugs {
 public:
  void plug_veth(const NetworkAttachment&, const std::string&, int) override {}
  int open_tap(const NetworkAttachment&, bool vnet_header) override {
    EXPECT_TRUE(vnet_header);
    return ::open("/dev/null", O_RDWR | O_CLOEXEC);
  }
  void make_tap(const NetworkAttachment&) override {}
  void unplug(const NetworkAttachment&) noexcept override {}
};

}  // namespace

FakeMachine::FakeMachine() : work_(file("work")) {
  base::write_file(file("kernel"), microvm::probe_kernel());
  base::write_file(file("initrd"), "initrd");
  base::write_file(file("image.json"),
                   R"({"format": 1, "name": "fake", "backends": ["cloud_hypervisor"],
                       "kernel": "kernel", "vmlinux": "kernel", "initrd": "initrd",
                       "cmdline": "panic=-1 fake", "channel": "agent", "seed": "initrd"})");
  config_.backend = "cloud_hypervisor";
  config_.image = file("image.json");
  config_.cloud_hypervisor.binary = file("cloud-hypervisor");
  set_version("53.0");
}

FakeMachine::~FakeMachine() {
  for (auto& other : others_) wait(end(std::move(other)));
  if (backend_) wait(end(std::move(backend_)));
}

void FakeMachine::set_version(const std::string& version) {
  base::write_file(
      file("cloud-hypervisor"),
      "#!/bin/sh\nFAKE_VERSION=" + version + " exec python3 " + ATTEST_FAKE_MONITOR + " \"$@\"\n");
  fs::permissions(file("cloud-hypervisor"), fs::perms::owner_all);
}

void FakeMachine::add_nic() {
  network_.push_back({.vlan = 1, .mac = "52:54:00:12:01:02", .interface = "at0v1n2"});
}

BackendContext FakeMachine::context() {
  fs::create_directories(work_);
  return {.machine = "web",
          .config = config_,
          .network = network_,
          .agent = "the agent's program",
          .work_dir = work_,
          .state_dir = work_,
          .loop = loop_.executor(),
          .console =
              [this](std::string_view bytes) {
                std::lock_guard lock(mutex_);
                console_ += bytes;
              },
          .plugs = std::make_shared<FakePlugs>()};
}

Backend& FakeMachine::backend() {
  if (!backend_) backend_ = cloud_hypervisor_backend().make(context());
  return *backend_;
}

Task<void> FakeMachine::end(std::unique_ptr<Backend> backend) {
  backend->kill();
  backend.reset();
  co_return;
}

void FakeMachine::make_anew() {
  if (backend_) wait(end(std::move(backend_)));
  std::error_code ignored;
  fs::remove(work("requests"), ignored);
  std::lock_guard lock(mutex_);
  console_.clear();
}

void FakeMachine::add_machine() {
  if (backend_) others_.push_back(std::move(backend_));
}

namespace {

Task<std::string> first_line(Stream* stream) {
  std::string line;
  char byte = 0;
  while (co_await stream->read_some({&byte, 1})) {
    if (byte == '\n' && !line.empty()) co_return line;
    if (byte != '\n') line += byte;
  }
  co_return line + " (and the end)";
}

Task<void> drop(std::unique_ptr<Stream> stream) {
  stream.reset();
  co_return;
}

}  // namespace

std::string FakeMachine::greeting_of(Stream& stream) { return wait(first_line(&stream)); }

std::string FakeMachine::greeting(std::unique_ptr<Stream> stream) {
  auto text = greeting_of(*stream);
  close(std::move(stream));
  return text;
}

void FakeMachine::close(std::unique_ptr<Stream> stream) { wait(drop(std::move(stream))); }

void FakeMachine::order(const std::string& line) {
  auto control = base::connect_unix(work("control"));
  auto text = line + "\n";
  ASSERT_EQ(::write(control.get(), text.data(), text.size()), ssize_t(text.size()));
}

std::vector<std::string> FakeMachine::requests() {
  std::vector<std::string> list;
  for (auto& line : base::split(base::try_read_file(work("requests")).value_or(""), '\n')) {
    if (line.empty()) continue;
    auto entry = nlohmann::json::parse(line);
    auto fds = entry["fds"].get<int>();
    list.push_back(entry["request"].get<std::string>() +
                   (fds ? " with " + std::to_string(fds) : ""));
  }
  return list;
}

void FakeMachine::wait_for_console(const std::string& text) {
  auto limit = soon();
  while (!limit.passed()) {
    {
      std::lock_guard lock(mutex_);
      if (console_.find(text) != std::string::npos) return;
    }
    std::this_thread::sleep_for(5ms);
  }
  std::lock_guard lock(mutex_);
  ADD_FAILURE() << "no '" << text << "' on the console: " << console_;
}

bool FakeMachine::monitor_lives() {
  for (auto& entry : fs::directory_iterator("/proc")) {
    auto words = base::try_read_file(entry.path() / "cmdline");
    if (words && words->find(work("cloud-hypervisor.log")) != std::string::npos) return true;
  }
  return false;
}

}  // namespace attest::cloud_hypervisor
