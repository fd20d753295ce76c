#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "guest/agent/connection.h"
#include "guest/agent/transport/transport.h"

namespace attest::agent {
namespace {

class Stdio final : public Transport {
 public:
  explicit Stdio(Services services)
      : in_(fcntl(0, F_DUPFD_CLOEXEC, 3)),
        out_(fcntl(1, F_DUPFD_CLOEXEC, 3)),
        in_flags_(fcntl(in_, F_GETFL)),
        out_flags_(fcntl(out_, F_GETFL)),
        has_terminal_(tcgetattr(in_, &terminal_) == 0) {
    // Nothing that is printed by accident may get between the frames.
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(nothing, 0);
    dup2(nothing, 1);
    close(nothing);
    if (has_terminal_) {
      termios raw = terminal_;
      cfmakeraw(&raw);
      tcsetattr(in_, TCSANOW, &raw);
    }
    fcntl(in_, F_SETFL, in_flags_ | O_NONBLOCK);
    fcntl(out_, F_SETFL, out_flags_ | O_NONBLOCK);
    connection_ = std::make_unique<Connection>(services, in_, out_,
                                               [&loop = services.loop](int) { loop.stop(); });
  }
  Stdio(const Stdio&) = delete;
  Stdio& operator=(const Stdio&) = delete;
  ~Stdio() override {
    connection_.reset();
    // Who started us shares these settings.
    fcntl(in_, F_SETFL, in_flags_);
    fcntl(out_, F_SETFL, out_flags_);
    if (has_terminal_) tcsetattr(in_, TCSANOW, &terminal_);
  }

 private:
  termios terminal_{};
  const int in_, out_, in_flags_, out_flags_;
  const bool has_terminal_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Transport> serve_stdio(Services services) {
  return std::make_unique<Stdio>(services);
}

}  // namespace attest::agent
