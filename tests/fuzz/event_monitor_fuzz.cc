// libFuzzer target: what an event monitor could send. The events are the same however the bytes are
// split; each one parses or is refused with attest::Error.
#include "attest/error.h"
#include "backends/cloud_hypervisor/event_monitor.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::string> cut(std::string_view bytes, std::size_t piece) {
  attest::cloud_hypervisor::EventReader reader;
  std::vector<std::string> events;
  try {
    while (!bytes.empty()) {
      reader.feed(bytes.substr(0, piece));
      while (auto event = reader.next())
        events.push_back(event->source + "\n" + event->event + "\n" + event->id);
      bytes.remove_prefix(std::min(piece, bytes.size()));
    }
  } catch (const attest::Error&) {
    events.emplace_back("refused");
  }
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto events = cut(bytes, 4096);
  if (size < 4096 && cut(bytes, data[0] % 16 + 1) != events) std::abort();
  return 0;
}
