// How a guest ended, in words, from all that was seen of it. Pure.
#pragma once
#include "attest/backend.h"
#include "lib/async/child.h"
#include "lib/proto/qmp_codec.h"

#include <optional>
#include <string>
#include <string_view>

namespace attest::qemu {

/// Finds the line in a console's output that tells why a guest gave up: a kernel panic, or our
/// initrd's last words. Keeps one unfinished line, bounded.
class FatalLine {
 public:
  void feed(std::string_view bytes);
  /// The first such line, "" if there was none since the last clear().
  const std::string& text() const { return found_; }
  void clear() { found_.clear(); }

 private:
  void look();

  std::string line_;
  std::string found_;
};

/// What was seen of a QEMU that is no more.
struct Ending {
  async::ExitStatus status;
  std::optional<proto::QmpShutdown> shutdown;  ///< QMP's last word, if it had one
  std::string fatal_line;                      ///< from the console
  std::string output;                          ///< the end of QEMU's own output
};

/// "the guest powered off", "QEMU exited with code 1: <its output>", ...
Gone explain(const Ending& ending);

}  // namespace attest::qemu
