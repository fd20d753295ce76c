#include "lib/entry/builtin.h"

#include "backends/loopback/loopback.h"
#include "backends/qemu/qemu.h"

namespace attest::entry {

Backends builtin_backends() {
  return {
      {"loopback", {.make = loopback::make_loopback}},
      {"qemu", qemu::qemu_backend()},
  };
}

}  // namespace attest::entry
