// What is asked of the host's kernel for Cloud Hypervisor.
#pragma once
#include <string>

namespace attest::cloud_hypervisor {

/// Why the monitor could not serve a guest's memory page by page here, which needs userfaultfd; ""
/// if it can. Tries it as the monitor would, in some microseconds.
std::string why_no_userfault();

}  // namespace attest::cloud_hypervisor
