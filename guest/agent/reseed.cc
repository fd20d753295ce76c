// reseed: makes the kernel's random numbers depend on bytes of the host from now on. A guest that
// goes on from a snapshot would else draw what every other one from that snapshot draws.
#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "guest/agent/files.h"

namespace attest::agent {
namespace {

constexpr std::size_t most_bytes = 256;

int digit(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
  return -1;
}

// Bytes of lower-case hex; empty if it is none.
std::string decode(std::string_view hex) {
  std::string bytes;
  if (hex.size() % 2 != 0 || hex.size() > 2 * most_bytes) return bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

// 0, or the errno of what failed. The generator draws from its pool only now and then by itself:
// the second request makes it do so at once (Linux 4.14).
int add_entropy(const std::string& bytes) {
  const int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  // A rand_pool_info with its flexible array.
  alignas(rand_pool_info) char request[sizeof(rand_pool_info) + most_bytes]{};
  const int head[2] = {static_cast<int>(bytes.size() * 8), static_cast<int>(bytes.size())};
  static_assert(offsetof(rand_pool_info, buf) == sizeof head);
  std::memcpy(request, head, sizeof head);
  std::memcpy(request + sizeof head, bytes.data(), bytes.size());
  int failure = 0;
  if (ioctl(fd, RNDADDENTROPY, request) != 0 || ioctl(fd, RNDRESEEDCRNG) != 0) failure = errno;
  close(fd);
  return failure;
}

class Reseed : public Operation {
 public:
  Reseed(const AgentFields& fields, Output& out)
      : Operation(out), bytes_(decode(fields.get("hex"))) {}

  void start() override {
    if (bytes_.empty()) return out_.error("usage", "hex is not 1 to 256 bytes in lower-case hex");
    if (const int failure = add_entropy(bytes_); failure != 0)
      return out_.error(
          "guest",
          std::string("cannot reseed the kernel's random numbers: ").append(error_text(failure)));
    out_.done();
  }
  void on_cancel() override {}

 private:
  const std::string bytes_;
};

}  // namespace

std::unique_ptr<Operation> make_reseed(const AgentFields& fields, Output& out, Services) {
  return std::make_unique<Reseed>(fields, out);
}

}  // namespace attest::agent
