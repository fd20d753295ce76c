// What a monitor's refusals say; apart from api.cc because it reads JSON.
#include "backends/microvm/api.h"
#include "lib/base/text.h"

#include <nlohmann/json.hpp>

namespace attest::microvm {
namespace {

constexpr std::size_t longest = 2000;

std::string words_of(std::string_view body) {
  // Firecracker puts line ends into strings as they are, which JSON does not allow.
  std::string text(body);
  for (char& byte : text)
    if (static_cast<unsigned char>(byte) < ' ') byte = ' ';
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object())
    for (const char* key : {"fault_message", "error"})
      if (auto found = json.find(key); found != json.end() && found->is_string())
        return found->get<std::string>();
  if (json.is_array()) {
    std::vector<std::string> causes;
    for (auto& item : json)
      if (item.is_string()) causes.push_back(item.get<std::string>());
    if (!causes.empty()) return base::join(causes, ": ");
  }
  return std::string(body);
}

}  // namespace

std::string fault_text(std::string_view body) {
  // A hostile peer's text is no longer than a message should be.
  std::string words = words_of(body.substr(0, 64 << 10));
  std::string text(base::trim(base::printable(words)));
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

}  // namespace attest::microvm
