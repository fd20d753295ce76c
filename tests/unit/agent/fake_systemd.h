// A systemd for tests of the agent: answers on a private D-Bus socket from a table of properties,
// in a thread of its own, and sends the signals that a test asks for.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lib/base/fd.h"

namespace attest::agent_test {

/// Text in D-Bus's little-endian encoding.
class DbusWriter {
 public:
  DbusWriter& byte(int value);
  DbusWriter& number(std::uint32_t value);
  DbusWriter& long_number(std::uint64_t value);
  DbusWriter& text(std::string_view value);
  DbusWriter& signature(std::string_view value);
  DbusWriter& pad(std::size_t multiple);
  std::string bytes;
};

/// Listens on DIRECTORY/systemd/private until it is destroyed.
class FakeSystemd {
 public:
  explicit FakeSystemd(const std::string& directory);
  FakeSystemd(const FakeSystemd&) = delete;
  FakeSystemd& operator=(const FakeSystemd&) = delete;
  ~FakeSystemd();

  /// Properties that have not been set are read as an error. Texts of digits go as numbers;
  /// `Job` is (uo).
  void set(std::string_view property, std::string_view value);
  /// PropertiesChanged of the unit and of its type, as things are, with this ActiveState.
  void tell(std::string_view active);
  /// JobRemoved of the unit.
  void tell_job_removed(std::string_view unit, std::string_view result);
  /// UnitNew, as systemd sends it for an idle unit that it had to load for an answer.
  void tell_unit_new(std::string_view unit);
  /// Ends all connections, as a daemon-reexec does.
  void drop();
  /// LoadUnit is answered with this D-Bus error.
  void refuse(std::string_view error, std::string_view text);
  /// Calls so far, "Member argument", in order.
  std::vector<std::string> calls();
  /// Blocks until that many calls have come (10 s at most).
  bool wait_calls(std::size_t count);

  static constexpr std::string_view unit_path = "/org/freedesktop/systemd1/unit/x";

 private:
  void serve();
  void answer(int fd, std::string_view message);
  void tell_changed(std::string_view interface, const std::vector<std::string>& properties);
  void signal(std::string_view path, std::string_view interface, std::string_view member,
              std::string_view signature, const std::string& body);

  std::mutex mutex_;
  std::map<std::string, std::string> properties_;
  std::string error_, error_text_;
  std::vector<std::string> calls_;
  std::map<int, std::string> connections_;  // with what has come and is not taken yet
  base::Fd listener_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace attest::agent_test
