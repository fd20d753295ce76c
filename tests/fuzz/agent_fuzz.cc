// Any bytes at all, in pieces of any size: the decoder neither crashes nor grows, and what it makes
// of them does not depend on how they were cut. Fields that decode are what was encoded.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "lib/proto/agent_codec.h"

using namespace attest::proto;

namespace {

struct Seen {
  std::vector<std::string> frames;
  std::string broken;
  bool operator==(const Seen&) const = default;
};

Seen decode(std::string_view bytes, std::size_t piece, AgentDecoder::Expect expect) {
  AgentDecoder decoder(expect);
  Seen seen;
  while (!bytes.empty()) {
    decoder.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    for (;;) {
      while (auto frame = decoder.next()) {
        seen.frames.push_back(std::to_string(frame->type) + " " + std::to_string(frame->stream) +
                              " " + std::string(frame->payload));
        (void)frame->channel();
        (void)frame->credit();
      }
      if (!decoder.broken().empty()) {
        seen.broken += decoder.broken();
        decoder.start_over();
      } else if (decoder.begins_anew()) {
        decoder.restart();
        seen.frames.push_back("anew " + decoder.greeting().nonce);
      } else {
        break;
      }
    }
    if (decoder.skipped().size() > 2048) std::abort();
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t piece = 1 + data[0] % 61;
  const auto expect =
      data[1] % 2 == 0 ? AgentDecoder::Expect::hello : AgentDecoder::Expect::greeting;
  std::string bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (data[1] % 4 < 2)
    bytes.insert(0, data[1] % 2 == 0 ? agent_hello("n") : agent_greeting("m", "b"));
  if (decode(bytes, bytes.size(), expect) != decode(bytes, piece, expect)) std::abort();
  if (auto fields = AgentFields::decode(bytes); fields && fields->encode() != bytes) std::abort();
  return 0;
}
