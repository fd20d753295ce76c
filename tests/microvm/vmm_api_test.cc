// Monitors driven by the backends' own requests, with a guest of a few bytes that never answers:
// all that needs no working KVM is tried against the real programs, where they are (suite
// vmm-api), and against the stand-ins (suite vm).
#include "backends/cloud_hypervisor/requests.h"
#include "backends/firecracker/requests.h"
#include "backends/microvm/api.h"
#include "backends/microvm/monitor_process.h"
#include "backends/microvm/monitor_program.h"
#include "error_of.h"
#include "lib/async/loop.h"
#include "lib/async/within.h"
#include "lib/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/mount.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace attest {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using microvm::Request;
using testing::AllOf;
using testing::HasSubstr;

Deadline soon() { return Deadline::after(60s); }

/// What differs between the two monitors.
struct Kind {
  std::string name, program_name;
  const char* variable;
};
const Kind firecracker_kind{"firecracker", "firecracker", "ATTEST_FIRECRACKER"};
const Kind cloud_kind{"cloud_hypervisor", "cloud-hypervisor", "ATTEST_CLOUD_HYPERVISOR"};

class VmmApi : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    program_ = microvm::find_monitor(GetParam().program_name, GetParam().program_name,
                                     GetParam().variable);
    if (program_.empty())
      GTEST_SKIP() << "there is no '" << GetParam().program_name << "' on PATH, and "
                   << GetParam().variable << " names none";
    if (::access("/dev/kvm", R_OK | W_OK) != 0 && !std::getenv(GetParam().variable))
      GTEST_SKIP() << "/dev/kvm cannot be opened, without which the monitor starts no machine";
    base::write_file(kernel(), microvm::probe_kernel());
    config_.memory_mb = 128;
  }
  void TearDown() override {
    if (process_) process_->kill();
  }
  bool on_firecracker() const { return GetParam().name == "firecracker"; }
  fs::path kernel() const { return dir_.path() / "kernel"; }

  /// A monitor of its own in `where`, whose API answers.
  void start(const fs::path& where) {
    if (process_) process_->kill();
    fs::create_directories(where);
    where_ = where;
    microvm::MonitorSpec spec;
    spec.monitor = GetParam().program_name;
    spec.child.cwd = where;
    if (on_firecracker()) {
      spec.child.argv = firecracker::command_line(config_, firecracker_launch());
      socket_ = (where / firecracker::api_socket).string();
    } else {
      socket_ = (where / cloud_hypervisor::api_socket).string();
      spec.child.argv = {program_, "--api-socket", "path=" + socket_};
    }
    loop_.run(launch(this, std::move(spec)));
  }
  static Task<void> launch(VmmApi* self, microvm::MonitorSpec spec) {
    auto loop = self->loop_.executor();
    self->process_ = microvm::MonitorProcess::start(loop, std::move(spec), [](auto) {});
    self->api_ = std::make_unique<microvm::Api>(loop, self->socket_, self->GetParam().program_name);
    co_await async::unless(self->process_->dies(), self->api_->wait_until_up(soon()));
  }
  std::string call(const Request& request) { return loop_.run(api_->call(request, soon())); }
  void call_all(const std::vector<Request>& requests) {
    for (auto& one : requests) call(one);
  }

  firecracker::Launch firecracker_launch() const {
    firecracker::Launch launch;
    launch.program = program_;
    launch.machine = "probe";
    launch.version = microvm::monitor_version(program_);
    launch.kernel = kernel_ ? *kernel_ : kernel();
    return launch;
  }
  cloud_hypervisor::Launch cloud_launch() const {
    cloud_hypervisor::Launch launch;
    launch.program = program_;
    launch.version = microvm::monitor_version(program_);
    launch.work_dir = where_;
    launch.kernel = kernel_ ? *kernel_ : kernel();
    return launch;
  }
  /// From nothing to a guest that runs.
  void boot() {
    if (on_firecracker()) return call_all(firecracker_requests());
    call(cloud_hypervisor::create_request(config_, cloud_launch()));
    call(cloud_hypervisor::simple_request("vm.boot"));
  }
  std::vector<Request> firecracker_requests() {
    auto all = firecracker::boot_requests(config_, firecracker_launch(), {});
    // Where the backend has a FIFO for the console a file does as well.
    std::ofstream(where_ / firecracker::console_fifo).close();
    return all;
  }
  void pause() {
    call(on_firecracker() ? firecracker::pause_request()
                          : cloud_hypervisor::simple_request("vm.pause"));
  }
  void resume() {
    call(on_firecracker() ? firecracker::resume_request()
                          : cloud_hypervisor::simple_request("vm.resume"));
  }
  void save(const fs::path& to) {
    fs::create_directories(to);
    call(on_firecracker() ? firecracker::save_request(to) : cloud_hypervisor::save_request(to));
  }
  void load(const fs::path& from) {
    if (on_firecracker()) {
      std::ofstream(where_ / firecracker::console_fifo).close();
      return call_all(firecracker::load_requests(firecracker_launch(), from, {}));
    }
    auto restored =
        cloud_hypervisor::restored_config(base::read_file(from / "config.json"), from, config_,
                                          cloud_launch(), {}, cloud_hypervisor::MemoryMode::copy);
    auto own = where_ / "restored";
    fs::create_directories(own);
    base::write_file(own / "config.json", restored.json);
    for (const char* name : {"state.json", "memory-ranges"})
      fs::create_symlink(from / name, own / name);
    call(cloud_hypervisor::restore_call(config_, cloud_launch(), own, restored.mode, {}).request);
  }
  std::string state() {
    auto answer =
        call(on_firecracker() ? Request{"GET", "/", ""} : Request{"GET", "/api/v1/vm.info", ""});
    for (auto* word : {"Running", "Paused", "Not started", "Created"})
      if (answer.find(std::string("\"") + word + "\"") != answer.npos) return word;
    return answer;
  }

  base::TempDir dir_{"attest-vmm-api-"};
  async::Loop loop_;
  MachineConfig config_;
  std::optional<fs::path> kernel_;
  std::string program_, socket_;
  fs::path where_;
  std::shared_ptr<microvm::MonitorProcess> process_;
  std::unique_ptr<microvm::Api> api_;
};
INSTANTIATE_TEST_SUITE_P(, VmmApi, testing::Values(firecracker_kind, cloud_kind),
                         [](auto& row) { return row.param.name; });

TEST_P(VmmApi, StartsPausesSavesLoadsAndEnds) {
  start(dir_.path() / "one");
  boot();
  EXPECT_EQ(state(), "Running");
  pause();
  EXPECT_EQ(state(), "Paused");
  save(dir_.path() / "saved");
  resume();
  EXPECT_EQ(state(), "Running");
  process_->kill();
  auto gone = loop_.run(process_->wait_gone());
  EXPECT_THAT(gone.cause, HasSubstr("signal 9"));
  start(dir_.path() / "two");
  load(dir_.path() / "saved");
  EXPECT_EQ(state(), "Paused");
  resume();
  EXPECT_EQ(state(), "Running");
}

TEST_P(VmmApi, RefusesAKernelThatIsNone) {
  kernel_ = dir_.path() / "no kernel";
  start(dir_.path() / "one");
  EXPECT_THAT(error_of([&] { boot(); }), HasSubstr("refused"));
  base::write_file(*kernel_, "this is no kernel");
  start(dir_.path() / "two");
  EXPECT_THAT(error_of([&] { boot(); }), HasSubstr("refused"));
}

TEST_P(VmmApi, RefusesWhatComesOutOfOrder) {
  start(dir_.path() / "one");
  EXPECT_THAT(error_of([&] { pause(); }), HasSubstr("refused"));
  EXPECT_THAT(error_of([&] { save(dir_.path() / "early"); }), HasSubstr("refused"));
  EXPECT_THAT(error_of([&] { call({"PUT", "/no/such/thing", "{}"}); }), HasSubstr("refused"));
  boot();
  EXPECT_EQ(state(), "Running");
  EXPECT_THAT(error_of([&] { save(dir_.path() / "running"); }), HasSubstr("refused"));
  EXPECT_EQ(state(), "Running");
}

TEST_P(VmmApi, WorksInOddDirectories) {
  for (auto* name : {"with space", "quo'te\"s", "\xc3\xa4\xc3\xb6\xc3\xbc"}) {
    start(dir_.path() / name);
    boot();
    EXPECT_EQ(state(), "Running") << name;
  }
}

TEST_P(VmmApi, AFullDiskWhileItSavesIsRefusedAndTheGuestGoesOn) {
  auto small = dir_.path() / "small";
  fs::create_directories(small);
  if (::mount("none", small.c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "no tmpfs can be mounted here: " << std::strerror(errno);
  struct Unmount {
    fs::path at;
    ~Unmount() { ::umount2(at.c_str(), MNT_DETACH); }
  } unmount{small};
  std::ofstream(small / "filling") << std::string(250 << 10, 'x');
  start(dir_.path() / "one");
  boot();
  pause();
  EXPECT_THAT(error_of([&] { save(small / "saved"); }), HasSubstr("refused"));
  resume();
  EXPECT_EQ(state(), "Running");
}

// 100 of them with ATTEST_CAMPAIGN=full.
TEST_P(VmmApi, ManyClonesRunFromOneSnapshotAtOnce) {
  start(dir_.path() / "one");
  boot();
  pause();
  save(dir_.path() / "saved");
  const char* campaign = std::getenv("ATTEST_CAMPAIGN");
  int count = campaign && std::string(campaign) == "full" ? 100 : 10;
  std::vector<std::shared_ptr<microvm::MonitorProcess>> clones;
  std::vector<std::unique_ptr<microvm::Api>> connections;
  for (int i = 0; i < count; ++i) {
    clones.push_back(std::exchange(process_, nullptr));
    connections.push_back(std::move(api_));
    start(dir_.path() / ("clone" + std::to_string(i)));
    load(dir_.path() / "saved");
    resume();
    EXPECT_EQ(state(), "Running") << i;
  }
  for (auto& clone : clones) EXPECT_TRUE(clone->alive());
  for (auto& clone : clones) clone->kill();
}

TEST_P(VmmApi, WorksWithFewDescriptors) {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit few{64, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &few);
  start(dir_.path() / "one");
  boot();
  EXPECT_EQ(state(), "Running");
  ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace attest
