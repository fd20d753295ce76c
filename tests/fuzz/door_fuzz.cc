// libFuzzer target: the doorman's messages. What decodes encodes to a message that decodes to
// the same value.
#include "lib/sandbox/door_codec.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace attest::sandbox;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto request = decode_request(bytes))
    if (decode_request(encode(*request)) != request) std::abort();
  if (auto reply = decode_reply(bytes))
    if (decode_reply(encode(*reply)) != reply) std::abort();
  return 0;
}
