#include "backends/microvm/api.h"

#include <algorithm>
#include <chrono>

namespace attest::microvm {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::microseconds first_interval = 250us;
constexpr std::chrono::microseconds longest_interval = 10ms;

Task<void> pause(std::chrono::microseconds span) {
  asio::steady_timer timer(co_await asio::this_coro::executor, span);
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace

Task<void> Api::wait_until_up(Deadline deadline) {
  auto interval = first_interval;
  while (!http_.connect()) {
    if (deadline.passed())
      throw Error(Error::Kind::timeout, monitor_ + "'s API socket did not appear in time");
    co_await pause(interval);
    interval = std::min(interval + interval / 4, longest_interval);
  }
}

std::string Api::checked(const Request& request, proto::HttpReply reply) const {
  if (reply.ok()) return std::move(reply.body);
  std::string words = fault_text(reply.body);
  throw Error(Error::Kind::host, monitor_ + " refused '" + request.method + " " + request.path +
                                     "'" + (words.empty() ? "" : ": " + words) + " (status " +
                                     std::to_string(reply.status) + ")");
}

Task<proto::HttpReply> Api::try_call(Request request, Deadline deadline) {
  co_return co_await http_.request(request.method, request.path, request.body, deadline);
}

Task<std::string> Api::call(Request request, Deadline deadline) {
  auto reply = co_await http_.request(request.method, request.path, request.body, deadline);
  co_return checked(request, std::move(reply));
}

Task<std::string> Api::call_with(Request request, std::vector<int> descriptors, Deadline deadline) {
  auto reply = co_await http_.request_with(request.method, request.path, request.body,
                                           std::move(descriptors), deadline);
  co_return checked(request, std::move(reply));
}

Task<void> Api::call_all(std::vector<Request> requests, Deadline deadline) {
  for (auto& request : requests) co_await call(request, deadline);
}

}  // namespace attest::microvm
