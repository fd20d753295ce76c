#include "guest/agent/systemd_link.h"

#include "guest/agent/files.h"
#include "guest/agent/path_watch.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

namespace attest::agent {

// The one connection to a systemd, as long as anybody has a link.
class SystemdLink::Shared : public std::enable_shared_from_this<Shared> {
 public:
  static std::shared_ptr<Shared> get(Loop& loop, const BusPaths& paths) {
    static std::map<std::string, std::weak_ptr<Shared>> all;
    auto& known = all[paths.direct];
    auto shared = known.lock();
    if (!shared) known = shared = std::make_shared<Shared>(loop, paths);
    return shared;
  }

  Shared(Loop& loop, BusPaths paths) : loop_(loop), paths_(std::move(paths)) {}
  ~Shared() { loop_.cancel(timer_); }

  void add(const std::weak_ptr<Callbacks>& callbacks) {
    listeners_.push_back(callbacks);
    // Later: the link is not yet where its owner looks for it.
    loop_.later([this, alive = weak_from_this(), callbacks] {
      auto listener = callbacks.lock();
      if (alive.expired() || !listener) return;
      if (up_) return listener->connected();
      begin();
    });
  }

  void stay_for(std::chrono::seconds time) {
    loop_.at(Clock::now() + time, [shared = shared_from_this()] {});
  }
  Bus* bus() { return up_ ? bus_.get() : nullptr; }

 private:
  template <class Call>
  void tell(Call call) {
    std::erase_if(listeners_, [](auto& listener) { return listener.expired(); });
    auto now = listeners_;
    for (auto& weak : now)
      if (auto listener = weak.lock()) call(*listener);
  }

  void begin() {
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
      up_ = true;
      watch_.reset();
      loop_.cancel(std::exchange(timer_, 0));
      return tell([](Callbacks& listener) { listener.connected(); });
    }
    // The socket's file is older than whoever listens on it, and nobody watches the bus's.
    down("systemd cannot be reached yet ('" + paths_.direct +
         "': " + std::string(error_text(code)) + ")");
  }

  int connect() {
    bus_ = std::make_unique<Bus>(
        loop_,
        [this](const dbus::Message& message) {
          tell([&](Callbacks& listener) { listener.signal(message); });
        },
        [this](const std::string& why) {
          // Who is not let in by systemd itself may be by the message bus, and the other way round.
          if (why.starts_with("authentication")) direct_refused_ = !direct_refused_;
          down("the connection to systemd was lost (" + why + ")");
        });
    int code = ECONNREFUSED;
    if (!direct_refused_ && (code = bus_->connect_direct(paths_.direct)) == 0) return 0;
    return bus_->connect_bus(paths_.bus) == 0 ? 0 : code;
  }

  void down(const std::string& why) {
    up_ = false;
    auto delay = std::chrono::milliseconds(std::min(10 + 5 * tries_++, 100));
    loop_.cancel(timer_);
    timer_ = loop_.at(Clock::now() + delay, [this] {
      timer_ = 0;
      begin();
    });
    tell([&](Callbacks& listener) { listener.apart(why); });
  }

  Loop& loop_;
  BusPaths paths_;
  std::vector<std::weak_ptr<Callbacks>> listeners_;
  std::unique_ptr<Bus> bus_;
  std::unique_ptr<PathWatch> watch_;
  Loop::Timer timer_ = 0;
  bool up_ = false, direct_refused_ = false;
  int tries_ = 0;
};

SystemdLink::SystemdLink(Loop& loop, BusPaths paths, Callbacks callbacks)
    : shared_(Shared::get(loop, paths)),
      callbacks_(std::make_shared<Callbacks>(std::move(callbacks))) {
  shared_->add(callbacks_);
}

SystemdLink::~SystemdLink() {
  // Connecting is most of what a wait for a unit that is up costs; the next one may come soon.
  shared_->stay_for(std::chrono::seconds(3));
}

void SystemdLink::call(std::string_view path, std::string_view interface, std::string_view member,
                       const std::vector<std::string_view>& arguments, Bus::Reply reply) {
  if (auto* bus = shared_->bus()) {
    bus->call(path, interface, member, arguments,
              [alive = std::weak_ptr(callbacks_), reply = std::move(reply)](auto& message) {
                if (!alive.expired()) reply(message);
              });
  }
}

void SystemdLink::get(std::string_view path, std::string_view interface, std::string_view property,
                      std::function<void(const dbus::Value*)> value) {
  if (auto* bus = shared_->bus()) {
    bus->get(path, interface, property,
             [alive = std::weak_ptr(callbacks_), value = std::move(value)](auto* found) {
               if (!alive.expired()) value(found);
             });
  }
}

}  // namespace attest::agent
