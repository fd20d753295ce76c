#include "lib/base/fatal_line.h"

#include "lib/base/text.h"

namespace attest::base {

std::optional<std::string> fatal_line(std::string_view line) {
  if (line.size() < 20) return std::nullopt;  // shorter than all of them
  auto has = [&](std::string_view part) { return line.find(part) != std::string_view::npos; };
  auto quoted_from = [&](std::size_t at) {
    return ": '" + std::string(trim(printable(line.substr(at)))) + "'";
  };
  if (auto at = line.find("Kernel panic - not syncing"); at != std::string_view::npos)
    return "the kernel panicked" + quoted_from(at);
  // systemd's emergency.service and sulogin, and initramfs-tools' and dracut's shells.
  if (has("You are in emergency mode") || has("Entering emergency mode"))
    return "the guest is in emergency mode";
  if (has("You are in rescue mode")) return "the guest is in rescue mode";
  // Our own initrd (guest/debian), which powers off after this line.
  if (auto at = line.find("attest-initrd: FATAL:"); at != std::string_view::npos)
    return "the initrd gave up" + quoted_from(at);
  return std::nullopt;
}

}  // namespace attest::base
