#include "lib/core/uplink.h"

#include "attest/error.h"
#include "lib/async/child.h"
#include "lib/async/net.h"
#include "lib/async/within.h"
#include "lib/net/switching/frames.h"
#include "lib/net/uplink.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <string>

namespace attest::core {
namespace {

using Socket = Outside::Socket::element_type;

constexpr const char* install = "install passt (Debian: passt)";

bool has_answer(const std::string& received) {
  net::FrameSplitter splitter;
  splitter.feed(received);
  while (auto framed = splitter.next())
    if (net::is_gateway_answer(framed->substr(net::length_bytes))) return true;
  return false;
}

// Sends `question` and returns at its answer, with nothing; else what came instead, as text.
// `socket` outlives this.
Task<std::optional<std::string>> ask(Socket* socket, std::string question) {
  // Its failure is the end that the reading sees too, perhaps after some words.
  co_await asio::async_write(*socket, asio::buffer(question), asio::as_tuple(asio::use_awaitable));
  std::string received;
  std::array<char, 4096> buffer{};
  for (;;) {
    auto [error, count] =
        co_await socket->async_read_some(asio::buffer(buffer), asio::as_tuple(asio::use_awaitable));
    if (error) co_return received;
    received.append(buffer.data(), count);
    // passt sends a length and its frame apart.
    if (!net::is_text(received) && has_answer(received)) co_return std::nullopt;
  }
}

}  // namespace

bool has_uplink(const MachineConfig& config, Wiring wiring) {
  return config.internet && wiring != Wiring::none && wiring != Wiring::vde;
}

std::optional<Missing> missing_for_uplink() {
  if (!async::find_program("passt").empty()) return std::nullopt;
  return Missing{"passt",
                 std::string("the program 'passt', which machines with 'internet' need, was "
                             "not found; ") +
                     install};
}

Task<base::Fd> open_uplink(std::shared_ptr<Outside> outside, net::Nic nic, Deadline deadline) {
  if (!outside)
    throw Error(Error::Kind::host,
                "'internet' needs the host's network, and this driver has no way to it")
        .hint("make the driver with attest::make_driver()");
  auto socket = co_await outside->run(net::uplink_command(), deadline);
  auto asking = ask(socket.get(), net::gateway_question(nic));
  auto instead =
      co_await async::within(deadline, "waiting for passt's first answer", std::move(asking));
  if (!instead) co_return base::Fd(socket->release());
  auto words = net::passt_words(*instead);
  Error error(Error::Kind::host,
              "passt, which was started on the host for 'internet', ended at once: " +
                  (words.empty() ? "it has said nothing" : words));
  if (missing_for_uplink()) error.hint(install);
  throw error;
}

}  // namespace attest::core
