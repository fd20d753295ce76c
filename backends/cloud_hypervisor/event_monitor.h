// The events of Cloud Hypervisor's --event-monitor: JSON objects, one after the other. Pure: bytes
// in, values out.
#pragma once
#include "lib/proto/qmp_codec.h"

#include <optional>
#include <string>
#include <string_view>

namespace attest::cloud_hypervisor {

struct MonitorEvent {
  std::string source;  ///< "vm", "vmm", "virtio-device", "guest"
  std::string event;   ///< "booted", "rebooting", "panic", ...
  std::string id;      ///< of the device, if the event has one; else ""
  bool is(std::string_view from, std::string_view what) const {
    return source == from && event == what;
  }
};

/// Events out of a stream, however its bytes were split or joined on the way.
class EventReader {
 public:
  void feed(std::string_view bytes) { splitter_.feed(bytes); }
  /// The next whole event, or nullopt until more bytes come. Throws Error{protocol} quoting what is
  /// no event; it is useless then.
  std::optional<MonitorEvent> next();

 private:
  proto::JsonSplitter splitter_{1 << 20};
};

}  // namespace attest::cloud_hypervisor
