#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "guest/agent/connection.h"
#include "guest/agent/file_text.h"
#include "guest/agent/transport/transport.h"

namespace attest::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The device of the port of that name, "" if there is none (yet).
std::string find_port(const std::string& name) {
  const std::string folder = "/sys/class/virtio-ports/";
  DIR* directory = opendir(folder.c_str());
  if (directory == nullptr) return "";
  std::string found;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    auto text = read_small_file((folder + entry->d_name + "/name").c_str(), 256).value_or("");
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text == name) found = std::string("/dev/") + entry->d_name;
  }
  closedir(directory);
  return found;
}

class Port final : public Transport {
 public:
  Port(Services services, std::string name) : services_(services), name_(std::move(name)) {
    search();
  }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  ~Port() override {
    services_.loop.cancel(timer_);
    release();
  }

 private:
  // The port appears when its module is loaded, which is soon after the start of a guest, or when
  // it is plugged in, which is hardly ever.
  void search() {
    timer_ = 0;
    auto device = find_port(name_);
    if (!device.empty()) fd_ = open(device.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd_ >= 0) return wait_for_host();
    const bool young = Clock::now() - begun_ < seconds(30);
    timer_ = services_.loop.at(Clock::now() + (young ? milliseconds(20) : milliseconds(500)),
                               [this] { search(); });
  }

  bool host_there() const {
    pollfd state{fd_, POLLOUT, 0};
    return poll(&state, 1, 0) >= 0 && (state.revents & (POLLHUP | POLLERR)) == 0;
  }

  // While no host is there the port hangs up, which level-triggered epoll reports for ever. The
  // timer is for kernels that would not wake us.
  void wait_for_host() {
    services_.loop.cancel(std::exchange(timer_, 0));
    services_.loop.forget(fd_);
    if (host_there()) return connect();
    services_.loop.watch(fd_, EPOLLIN | EPOLLOUT | EPOLLET,
                         [this](std::uint32_t) { host_there() ? connect() : void(); });
    timer_ = services_.loop.at(Clock::now() + milliseconds(500), [this] { wait_for_host(); });
  }

  void connect() {
    services_.loop.cancel(std::exchange(timer_, 0));
    connection_ = std::make_unique<Connection>(services_, fd_, fd_, [this](int error) {
      connection_.reset();
      if (error == 0 || error == EPIPE || error == EAGAIN) return wait_for_host();
      release();  // unplugged
      begun_ = Clock::now();
      search();
    });
  }

  void release() {
    connection_.reset();
    services_.loop.forget(fd_);
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

  Services services_;
  const std::string name_;
  int fd_ = -1;
  Clock::time_point begun_ = Clock::now();
  Loop::Timer timer_ = 0;
  std::unique_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Transport> serve_port(Services services, std::string name) {
  return std::make_unique<Port>(services, std::move(name));
}

}  // namespace attest::agent
