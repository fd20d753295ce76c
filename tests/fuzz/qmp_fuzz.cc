// libFuzzer target: what QEMU could send. The objects are the same however the bytes are split;
// each one parses or is refused with attest::Error.
#include "attest/error.h"
#include "lib/proto/qmp_codec.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {
using namespace attest::proto;

std::vector<std::string> cut(std::string_view bytes, std::size_t piece) {
  JsonSplitter splitter(4096);
  std::vector<std::string> objects;
  try {
    while (!bytes.empty()) {
      splitter.feed(bytes.substr(0, piece));
      while (auto object = splitter.next()) objects.push_back(*object);
      bytes.remove_prefix(std::min(piece, bytes.size()));
    }
  } catch (const attest::Error&) {
    objects.emplace_back("refused");
  }
  return objects;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto objects = cut(bytes, 4096);
  if (size < 4096 && cut(bytes, data[0] % 16 + 1) != objects) std::abort();
  for (auto& object : objects) {
    try {
      parse_shutdown(parse_qmp(object).text);
    } catch (const attest::Error&) {
      // Refused with words, which is all that is asked.
    }
  }
  return 0;
}
