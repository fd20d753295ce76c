#include "tests/sims/firecracker/fault.h"

#include <cstring>

namespace attest::sims::firecracker {

std::string os_error(int code) {
  std::string text = std::strerror(code);
  if (code == EBUSY) text = "Resource busy";
  if (code == EADDRINUSE) text = "Address in use";
  if (code == ENAMETOOLONG) text = "Filename too long";
  return text + " (os error " + std::to_string(code) + ")";
}

}  // namespace attest::sims::firecracker
