#include "lib/proto/vsock.h"

#include "lib/async/within.h"
#include "lib/base/text.h"

#include <algorithm>
#include <array>

namespace attest::proto {
namespace {

constexpr std::string_view promise = "OK ";
constexpr std::size_t longest_answer = 32;

// The guest's first words may have come with the answer's line.
class Rest final : public Stream {
 public:
  Rest(std::unique_ptr<Stream> stream, std::string rest)
      : stream_(std::move(stream)), rest_(std::move(rest)) {}

  Task<std::size_t> read_some(std::span<char> buffer) override {
    if (rest_.empty() || closed_) co_return co_await stream_->read_some(buffer);
    std::size_t count = std::min(buffer.size(), rest_.size());
    std::copy_n(rest_.begin(), count, buffer.begin());
    rest_.erase(0, count);
    co_return count;
  }
  Task<void> write_all(std::string_view bytes) override { return stream_->write_all(bytes); }
  void close() noexcept override {
    closed_ = true;
    stream_->close();
  }

 private:
  std::unique_ptr<Stream> stream_;
  std::string rest_;
  bool closed_ = false;
};

// By pointer to what outlives it: vsock_connect() below holds both.
Task<std::size_t> shake_hands(Stream* stream, std::string* came, unsigned port) {
  std::string request = vsock_request(port);
  co_await stream->write_all(request);
  std::array<char, 4096> buffer;
  while (true) {
    std::size_t count = co_await stream->read_some(buffer);
    if (count == 0)
      throw Error(Error::Kind::host,
                  "nobody answers on vsock port " + std::to_string(port) +
                      " of the guest (the monitor has hung up" +
                      (came->empty() ? ")" : " after '" + base::printable(*came) + "')"));
    came->append(buffer.data(), count);
    if (auto length = vsock_answer(*came)) co_return *length;
  }
}

}  // namespace

std::string vsock_request(unsigned port) { return "CONNECT " + std::to_string(port) + "\n"; }

std::optional<std::size_t> vsock_answer(std::string_view bytes) {
  auto end = bytes.find('\n');
  auto line = bytes.substr(0, end);
  bool good = line.substr(0, promise.size()) == promise.substr(0, line.size()) &&
              line.size() <= longest_answer;
  if (line.size() > promise.size())
    for (char byte : line.substr(promise.size())) good = good && byte >= '0' && byte <= '9';
  if (end != std::string_view::npos) good = good && line.size() > promise.size();
  if (!good)
    throw Error(Error::Kind::protocol, "expected 'OK <number>' from the monitor's vsock, got '" +
                                           base::printable(bytes.substr(0, 100)) + "'");
  if (end == std::string_view::npos) return std::nullopt;
  return end + 1;
}

Task<std::unique_ptr<Stream>> vsock_connect(std::unique_ptr<Stream> stream, unsigned port,
                                            Deadline deadline) {
  std::string came;
  std::string step = "connecting to vsock port " + std::to_string(port) + " of the guest";
  std::size_t length =
      co_await async::within(deadline, step, shake_hands(stream.get(), &came, port));
  co_return std::make_unique<Rest>(std::move(stream), came.substr(length));
}

}  // namespace attest::proto
