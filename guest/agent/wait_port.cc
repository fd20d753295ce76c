// wait for=port: TCP by connecting again and again, without a process for each try; UDP by looking
// at the guest's own sockets, since an open UDP port does not answer.
#include "guest/agent/addresses.h"
#include "guest/agent/file_text.h"
#include "guest/agent/files.h"
#include "guest/agent/wait.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace attest::agent {
namespace {

using std::chrono::milliseconds;

// A try's longest time: a firewall that drops what it does not like answers never.
constexpr milliseconds longest_try{1000};
constexpr milliseconds between_lookups{500};

// One address, tried for itself: one that does not answer must not slow down the others.
class Probe {
 public:
  enum class Result { unknown, open, closed, no_answer };
  Probe(Loop& loop, const Address& address, std::uint16_t port, std::function<void()> changed)
      : loop_(loop), address_(address), port_(port), changed_(std::move(changed)) {}
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  ~Probe() {
    loop_.cancel(timer_);
    drop();
  }

  void begin() {
    sockaddr_storage to;
    auto size = address_.with_port(port_, to);
    fd_.reset(socket(address_.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_) return settle(errno);
    if (connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), size) == 0) return settle(0);
    if (errno != EINPROGRESS) return settle(errno);
    loop_.watch(fd_.get(), EPOLLOUT, [this](std::uint32_t) {
      int code = 0;
      socklen_t length = sizeof code;
      getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &code, &length);
      settle(code);
    });
    timer_ = loop_.at(Clock::now() + longest_try, [this] { settle(ETIMEDOUT); });
  }

  Result result() const { return result_; }
  std::string text() const {
    return address_.text() + ": " +
           (result_ == Result::open ? "open" : std::string(error_text(code_)));
  }

 private:
  void settle(int code) {
    loop_.cancel(timer_);
    // A port that nobody listens on, of the range for outgoing connections, can be given to this
    // very socket: it is then connected to itself.
    if (code == 0 && is_connected_to_itself()) code = ECONNREFUSED;
    drop();
    code_ = code;
    result_ = code == 0 ? Result::open : code == ETIMEDOUT ? Result::no_answer : Result::closed;
    timer_ = loop_.at(Clock::now() + pace_.next(), [this] { begin(); });
    changed_();
  }
  bool is_connected_to_itself() const {
    sockaddr_storage own{}, other{};
    socklen_t own_size = sizeof own, other_size = sizeof other;
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&own), &own_size);
    getpeername(fd_.get(), reinterpret_cast<sockaddr*>(&other), &other_size);
    return own_size == other_size && memcmp(&own, &other, own_size) == 0;
  }
  void drop() {
    if (fd_) loop_.forget(fd_.get());
    fd_.reset();
  }

  Loop& loop_;
  Address address_;
  std::uint16_t port_;
  std::function<void()> changed_;
  Fd fd_;
  Loop::Timer timer_ = 0;
  Pace pace_;
  Result result_ = Result::unknown;
  int code_ = 0;
};

class PortWait : public Wait {
 public:
  PortWait(const AgentFields& fields, Output& out, Loop& loop)
      : Wait(out, loop, ""),
        host_(fields.get("address", "localhost")),
        number_(fields.number("port").value_or(0)),
        udp_(fields.get("udp") == "1"),
        closed_(fields.get("closed") == "1") {
    what_ = std::string(udp_ ? "UDP port " : "port ") + std::to_string(number_) + " on '" + host_ +
            "'" + (closed_ ? " to close" : "");
  }

  void start() override {
    if (number_ < 1 || number_ > 65535) return out_.error("usage", "a port is 1 to 65535");
    if (host_.empty()) return out_.error("usage", "an empty address");
    resolve();
  }

 private:
  void resolve() {
    if (auto address = parse_address(host_)) return begin({*address});
    auto hosts = read_small_file("/etc/hosts", 1 << 20).value_or("");
    auto found = addresses_in_hosts(hosts, host_);
    if (!found.empty()) return begin(std::move(found));
    lookup_ = std::make_unique<Lookup>(
        loop_, host_, [this](std::vector<Address> addresses, const std::string& why) {
          if (!why.empty()) return out_.error("guest", "cannot look up '" + host_ + "': " + why);
          if (!addresses.empty()) return begin(std::move(addresses));
          state("the name '" + host_ + "' is unknown");
          in(between_lookups, [this] { resolve(); });
        });
  }

  void begin(std::vector<Address> addresses) {
    addresses_ = std::move(addresses);
    if (udp_) return begin_udp();
    for (auto& address : addresses_) {
      probes_.push_back(std::make_unique<Probe>(loop_, address, static_cast<std::uint16_t>(number_),
                                                [this] { judge(); }));
    }
    for (auto& probe : probes_) probe->begin();
  }

  void judge() {
    auto is = [](Probe::Result result) {
      return [result](auto& probe) { return probe->result() == result; };
    };
    bool any_open = std::any_of(probes_.begin(), probes_.end(), is(Probe::Result::open));
    bool all_closed = std::all_of(probes_.begin(), probes_.end(), is(Probe::Result::closed));
    if (closed_ ? all_closed : any_open) return out_.done();
    std::string text;
    for (auto& probe : probes_)
      if (!is(Probe::Result::unknown)(probe)) text += (text.empty() ? "" : ", ") + probe->text();
    state(text);
  }

  void begin_udp() {
    for (auto& address : addresses_) {
      // A socket can be bound to an address of this machine only.
      sockaddr_storage own;
      auto size = address.with_port(0, own);
      Fd fd(socket(address.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (!fd || bind(fd.get(), reinterpret_cast<sockaddr*>(&own), size) == 0) continue;
      if (errno == EADDRNOTAVAIL && addresses_.size() == 1) {
        return out_.error("unsupported", "'" + host_ +
                                             "' is not this machine; whether a UDP port is open "
                                             "can be seen on the machine itself only");
      }
    }
    look_at_udp();
  }

  void look_at_udp() {
    bool open = false;
    for (const char* path : {"/proc/net/udp", "/proc/net/udp6"}) {
      auto table = read_small_file(path, 4 << 20).value_or("");
      for (auto& address : addresses_)
        open = open || has_udp_port(table, address, static_cast<std::uint16_t>(number_));
    }
    if (open != closed_) return out_.done();
    state(open ? "a socket is bound" : "no socket is bound");
    in(milliseconds(20), [this] { look_at_udp(); });
  }

  std::string host_;
  std::int64_t number_;
  bool udp_, closed_;
  std::vector<Address> addresses_;
  std::unique_ptr<Lookup> lookup_;
  std::vector<std::unique_ptr<Probe>> probes_;
};

}  // namespace

std::unique_ptr<Operation> make_port_wait(const AgentFields& fields, Output& out,
                                          Services services) {
  return std::make_unique<PortWait>(fields, out, services.loop);
}

}  // namespace attest::agent
