#include "backends/ssh/agent_keys.h"

#include "backends/ssh/fingerprint.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

namespace attest::ssh {
namespace {

using Kind = Error::Kind;

// draft-miller-ssh-agent
constexpr char request_identities = 11, identities_answer = 12, sign_request = 13,
               sign_response = 14;
constexpr std::uint32_t rsa_sha2_256 = 2, rsa_sha2_512 = 4;
constexpr std::uint32_t longest = 256 << 10;

Error nonsense() { return {Kind::protocol, "the ssh-agent's answer cannot be understood"}; }

}  // namespace

Task<std::string> AgentKeys::ask(std::string request) {
  std::string framed;
  put_string(framed, request);
  auto [failed, sent] = co_await asio::async_write(*socket_, asio::buffer(framed),
                                                   asio::as_tuple(asio::use_awaitable));
  if (failed) throw Error(Kind::host, "the ssh-agent cannot be asked: " + failed.message());
  std::string head(4, '\0');
  auto [no_head, count] =
      co_await asio::async_read(*socket_, asio::buffer(head), asio::as_tuple(asio::use_awaitable));
  if (no_head) throw Error(Kind::host, "the ssh-agent does not answer: " + no_head.message());
  std::string_view bytes = head;
  const auto size = take_number(bytes).value_or(0);
  if (size == 0 || size > longest) throw nonsense();
  std::string answer(size, '\0');
  auto [no_body, rest] = co_await asio::async_read(*socket_, asio::buffer(answer),
                                                   asio::as_tuple(asio::use_awaitable));
  if (no_body) throw Error(Kind::host, "the ssh-agent broke off: " + no_body.message());
  co_return answer;
}

Task<std::vector<AgentKeys::Key>> AgentKeys::list() {
  std::string request(1, request_identities);
  auto answer = co_await ask(request);
  std::string_view bytes = answer;
  if (bytes.front() != identities_answer) throw nonsense();
  bytes.remove_prefix(1);
  auto count = take_number(bytes);
  std::vector<Key> keys;
  for (std::uint32_t i = 0; count && i < *count; ++i) {
    auto blob = take_string(bytes), comment = take_string(bytes);
    if (!blob || !comment) throw nonsense();
    keys.push_back({std::string(*blob), std::string(*comment)});
  }
  co_return keys;
}

Task<std::string> AgentKeys::sign(std::string key, std::string data) {
  std::string request(1, sign_request);
  put_string(request, key);
  put_string(request, data);
  // What is signed names the RSA method that libssh2 has chosen.
  auto names = [&](const char* method) { return data.find(method) != data.npos; };
  put_number(request, names("rsa-sha2-512")   ? rsa_sha2_512
                      : names("rsa-sha2-256") ? rsa_sha2_256
                                              : 0);
  auto answer = co_await ask(request);
  std::string_view bytes = answer;
  if (bytes.front() != sign_response)
    throw Error(Kind::host, "the ssh-agent does not sign with the key " + fingerprint(key));
  bytes.remove_prefix(1);
  auto signature = take_string(bytes);
  if (!signature || !take_string(*signature)) throw nonsense();
  auto inner = take_string(*signature);
  if (!inner) throw nonsense();
  co_return std::string(*inner);
}

}  // namespace attest::ssh
