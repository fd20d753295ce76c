// libFuzzer target: a VDE client's request. However much of it has come, the answer does not change
// once there is one but for the description, which only grows, and what is refused stays refused.
// Corpus: tests/fuzz/corpus/vde.
#include "lib/net/switching/vde_codec.h"

#include "attest/error.h"

#include <algorithm>
#include <cstdlib>

namespace {
using namespace attest::net;

enum class Outcome { more, request, refused };

Outcome decode(std::string_view bytes, VdeRequest& request) {
  try {
    auto decoded = decode_vde_request(bytes);
    if (!decoded) return Outcome::more;
    request = *decoded;
    return Outcome::request;
  } catch (const attest::Error&) {
    return Outcome::refused;
  }
}

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const VdeRequest& request) {
  require(request.port >= 0);
  require(!request.address.empty());
  if (request.address[0] == '/')
    require(request.address.size() <= longest_socket_path &&
            request.address.find('\0') == std::string::npos);
  else
    require(request.address[0] == '\0' && request.address.size() == longest_socket_path + 1);
  require(request.description.size() <= 128);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 300));
  VdeRequest before;
  auto outcome = Outcome::more;
  for (std::size_t count = 0; count <= bytes.size(); ++count) {
    VdeRequest now;
    auto next = decode(bytes.substr(0, count), now);
    require(outcome == Outcome::more || next == outcome);
    if (next == Outcome::request) {
      check(now);
      if (outcome == Outcome::request)
        require(now.address == before.address && now.port == before.port &&
                now.management == before.management &&
                now.description.starts_with(before.description));
      before = now;
    }
    outcome = next;
  }
  if (outcome == Outcome::request && before.address[0] == '/')
    require(encode_vde_answer(before.address).find(before.address) == 2);
  return 0;
}
