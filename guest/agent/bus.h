// A connection to systemd over D-Bus: its private socket, where the two ends talk directly, or a
// message bus. Waits for nothing; answers and signals come through the loop.
#pragma once
#include "guest/agent/dbus.h"
#include "guest/agent/fd.h"
#include "guest/agent/loop.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace attest::agent {

/// Where systemd can be reached, for the system (no uid) or a user.
struct BusPaths {
  std::string direct;  ///< systemd's own socket
  std::string bus;     ///< the message bus
  /// Below /run, or below $ATTEST_AGENT_RUN (for tests).
  static BusPaths system();
  static BusPaths user(unsigned uid);
};
/// "/run", or $ATTEST_AGENT_RUN.
std::string run_directory();
/// True if systemd is, or is about to be, what runs this machine.
bool systemd_runs();

/// One connection. Neither callback may destroy it from within; a Turn is for that.
class Bus {
 public:
  using Reply = std::function<void(const dbus::Message&)>;  ///< a reply or an error
  using Signal = std::function<void(const dbus::Message&)>;
  using Lost = std::function<void(const std::string& why)>;

  Bus(Loop& loop, Signal signal, Lost lost);
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;
  ~Bus();

  /// Connects and says hello; on a message bus it asks for systemd's signals, too. 0 or an errno.
  int connect_direct(const std::string& path);
  int connect_bus(const std::string& path);
  /// Calls a method of systemd's object `path`.
  void call(std::string_view path, std::string_view interface, std::string_view member,
            const std::vector<std::string_view>& arguments, Reply reply);
  /// Reads one property; `value` gets null if there is none.
  void get(std::string_view path, std::string_view interface, std::string_view property,
           std::function<void(const dbus::Value* value)> value);

 private:
  int connect(const std::string& path);
  void call_at(std::string_view destination, std::string_view path, std::string_view interface,
               std::string_view member, const std::vector<std::string_view>& arguments,
               Reply reply);
  void on_ready(std::uint32_t events);
  void flush();
  void lose(const std::string& why);

  Loop& loop_;
  Signal signal_;
  Lost lost_;
  Fd socket_;
  bool direct_ = true;
  std::string outbox_;
  std::string calls_;  // made before systemd has let us in
  bool let_in_ = false;
  dbus::Decoder decoder_;
  std::uint32_t serial_ = 0;
  std::map<std::uint32_t, Reply> waiting_;
};

inline constexpr std::string_view systemd_path = "/org/freedesktop/systemd1";
inline constexpr std::string_view manager_interface = "org.freedesktop.systemd1.Manager";
inline constexpr std::string_view properties_interface = "org.freedesktop.DBus.Properties";

}  // namespace attest::agent
