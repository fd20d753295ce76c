// Config::from_json() on arbitrary bytes: it returns or throws attest::Error, and what it takes
// comes back equal out of to_json().
#include "attest/config.h"
#include "attest/error.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  attest::Config config;
  try {
    config = attest::Config::from_json({reinterpret_cast<const char*>(data), size});
  } catch (const attest::Error&) {
    return 0;
  }
  if (!(attest::Config::from_json(config.to_json()) == config)) std::abort();
  return 0;
}
