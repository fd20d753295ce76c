// A machine of this backend whose monitor is fake_monitor.py, for tests on the test's thread.
#pragma once
#include "attest/backend.h"
#include "attest/error.h"
#include "lib/async/loop.h"
#include "lib/async/net.h"
#include "lib/base/file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace attest::cloud_hypervisor {

inline constexpr const char* agent_greeting = "ATTEST-AGENT/1 machine=x86_64 boot=fake";

class FakeMachine : public testing::Test {
 protected:
  FakeMachine();
  ~FakeMachine() override;

  std::string file(const std::string& name) const { return (dir_.path() / name).string(); }
  std::string work(const std::string& name) const { return work_ + "/" + name; }
  /// What --version says.
  void set_version(const std::string& version);
  /// A card whose TAP is no TAP.
  void add_nic();

  /// Made at its first use, from config_ and work_.
  Backend& backend();
  /// Ends the machine, so that another one with the same work directory follows.
  void make_anew();
  /// Keeps the machine and makes another one beside it.
  void add_machine();

  /// Runs it on the loop and returns what it returns.
  template <class T>
  T wait(Task<T> task) {
    return loop_.run(std::move(task));
  }
  template <class T>
  std::string error(Task<T> task) {
    try {
      wait(std::move(task));
    } catch (const Error& failure) {
      return failure.what();
    }
    ADD_FAILURE() << "no Error was thrown";
    return "";
  }
  static Deadline soon() { return Deadline::after(std::chrono::seconds(40)); }

  /// The first line that is not empty.
  std::string greeting_of(Stream& stream);
  std::string greeting(std::unique_ptr<Stream> stream);
  void close(std::unique_ptr<Stream> stream);

  /// Tells the fake; see fake_monitor.py.
  void order(const std::string& line);
  void note(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(work_);
    base::write_file(work(name), text);
  }
  /// What it was asked, "PUT /x with 1" for one descriptor; of the present work directory.
  std::vector<std::string> requests();
  void wait_for_console(const std::string& text);
  /// A monitor with the present work directory is there.
  bool monitor_lives();

  base::TempDir dir_;
  async::Loop loop_;
  MachineConfig config_;
  std::string work_;

 private:
  BackendContext context();
  static Task<void> end(std::unique_ptr<Backend> backend);

  std::vector<NetworkAttachment> network_;
  std::vector<std::unique_ptr<Backend>> others_;
  std::unique_ptr<Backend> backend_;
  std::mutex mutex_;
  std::string console_;
};

}  // namespace attest::cloud_hypervisor
