// libFuzzer target: what becomes of a machine's bytes before they reach a terminal or a shell.
#include "lib/base/text.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace attest::base;
  std::string_view text(reinterpret_cast<const char*>(data), size);

  // No control character but the tab survives, and what is clean stays as it is.
  std::string safe = printable(text);
  for (unsigned char c : safe)
    if ((c < 0x20 && c != '\t') || c == 0x7F) std::abort();
  if (printable(safe) != safe) std::abort();

  // A quoted word has an even number of quotes outside of its \' parts.
  std::string quoted = shell_quote(text);
  if (quoted.size() < text.size() + 2 || quoted.front() != '\'' || quoted.back() != '\'')
    std::abort();

  if (join(split(text, '\n'), "\n") != text) std::abort();
  if (dedent(text).size() > text.size()) std::abort();
  if (!text.empty() && last_lines(text, 3).size() > text.size()) std::abort();
  return 0;
}
