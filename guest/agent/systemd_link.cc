#include "guest/agent/systemd_link.h"

#include "guest/agent/files.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace attest::agent {

SystemdLink::SystemdLink(Loop& loop, BusPaths paths, Callbacks callbacks)
    : loop_(loop), paths_(std::move(paths)), callbacks_(std::move(callbacks)) {}

void SystemdLink::begin() {
  int code = connect();
  if (code == ENOENT || code == ENOTDIR) {
    // Nothing to connect to: the file system tells when there is.
    if (!watch_) {
      watch_ = std::make_unique<PathWatch>(
          loop_, paths_.direct, [this](const std::vector<PathWatch::Entry>&) { begin(); });
    }
    watch_->arm();
    code = connect();
  }
  if (code == 0) {
    watch_.reset();
    loop_.cancel(std::exchange(timer_, 0));
    return callbacks_.connected();
  }
  callbacks_.apart("systemd cannot be reached yet ('" + paths_.direct +
                   "': " + std::string(error_text(code)) + ")");
  // The socket's file is older than whoever listens on it, and the message bus has no file watch.
  later();
}

int SystemdLink::connect() {
  bus_ = std::make_unique<Bus>(
      loop_, [this](const dbus::Message& message) { callbacks_.signal(message); },
      [this](const std::string& why) { lost(why); });
  int code = ECONNREFUSED;
  if (!direct_refused_ && (code = bus_->connect_direct(paths_.direct)) == 0) return 0;
  return bus_->connect_bus(paths_.bus) == 0 ? 0 : code;
}

void SystemdLink::lost(const std::string& why) {
  // Who is not let in by systemd itself may be by the message bus, and the other way round.
  if (why.starts_with("authentication")) direct_refused_ = !direct_refused_;
  callbacks_.apart("the connection to systemd was lost (" + why + ")");
  later();
}

void SystemdLink::later() {
  auto delay = std::chrono::milliseconds(std::min(10 + 5 * tries_++, 100));
  loop_.cancel(timer_);
  timer_ = loop_.at(Clock::now() + delay, [this] {
    timer_ = 0;
    begin();
  });
}

}  // namespace attest::agent
