// The frequency of the host's time stamp counter, which TCG guests see as their own.
#pragma once

namespace attest::qemu {

/// In kHz, measured once per process (2 ms of spinning); 0 where there is no such counter.
unsigned host_tsc_khz();

}  // namespace attest::qemu
