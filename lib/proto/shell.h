// The wire format between attest and a resident root shell: text lines in, framed replies out.
// Pure functions and one incremental decoder; nothing here reads or writes. The shell code that
// answers is in shell_script.cc. Losses on the way (hvc0 drops output that nobody reads) show
// as Damaged, never as wrong output.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace attest::proto {

/// The line that a backdoor prints before its shell reads commands.
inline constexpr std::string_view shell_banner = "Spawning backdoor root shell...\n";
/// The most that one command may print, both streams together.
inline constexpr std::uint64_t shell_output_limit = 64u << 20;

/// What the resident shell is able to do.
enum class ShellKind {
  bash,  ///< forked subshells, strict mode with pipefail
  posix  ///< dash, busybox: `sh -eu`, a new process for each command
};

/// One complete reply of the guest.
struct ShellFrame {
  enum class Kind : char {
    booted = 'b',   ///< the bootstrap is done; code 0, or 1: no writable directory
    result = 'r',   ///< a command ended: code, output, error_output
    full = 'f',     ///< like result, but it printed more than the limit; without the output
    refused = 'd',  ///< the command line was damaged on its way to the guest; nothing ran
    status = 's',   ///< answer to a check: code 0 runs, 1 does not run, 2 its executor is gone
    pong = 'p'      ///< answer to a ping
  };
  std::uint64_t id = 0;
  Kind kind = Kind::result;
  int code = 0;
  std::string output, error_output;
  bool operator==(const ShellFrame&) const = default;
};

/// The banner: a shell has (re)started and knows nothing of us.
struct ShellBanner {
  bool operator==(const ShellBanner&) const = default;
};
/// The answer to the probe: the value of BASH_VERSION, "" where there is none.
struct ShellHello {
  std::string bash_version;
  bool operator==(const ShellHello&) const = default;
};
/// Bytes of a frame were lost or changed. `id` is known if one of its ends arrived.
struct ShellDamage {
  std::optional<std::uint64_t> id;
  std::string what;
  bool operator==(const ShellDamage&) const = default;
};
using ShellEvent = std::variant<ShellBanner, ShellHello, ShellFrame, ShellDamage>;

/// Turns the guest's byte stream into events. Memory is bounded by twice the output limit.
class ShellDecoder {
 public:
  /// `nonce` marks what is ours in the stream; nothing but the banner is known without one.
  explicit ShellDecoder(std::string nonce = {}) : nonce_(std::move(nonce)) {}

  /// Frames of an earlier shell are skipped from now on.
  void set_nonce(std::string nonce) { nonce_ = std::move(nonce); }
  void feed(std::string_view bytes);
  /// The next event, or nullopt until more bytes come.
  std::optional<ShellEvent> next();
  /// The last bytes that belonged to nothing, for messages; at most 2 KiB.
  const std::string& skipped() const noexcept { return skipped_; }
  /// The command whose reply has begun and not ended.
  std::optional<std::uint64_t> unfinished() const;
  /// Gives up a reply that stalls because its end was lost; what follows is read afresh.
  std::optional<ShellEvent> give_up_unfinished();

 private:
  struct Head {
    ShellFrame frame;
    std::uint64_t out = 0, err = 0;
  };
  std::optional<ShellEvent> search();
  std::optional<ShellEvent> finish();
  std::optional<Head> parse_head(std::string_view line) const;
  void drop(std::size_t count);

  std::string nonce_, buffer_, skipped_;
  std::size_t searched_ = 0;           // no marker starts before this offset of buffer_
  std::optional<Head> head_;           // its payload starts at offset 0 of buffer_
  std::optional<std::uint64_t> lost_;  // reported as damaged; its end may still come
};

/// Asks which shell reads this. The nonce is written in two halves, so that an echo of the line
/// is not taken for the answer.
std::string shell_probe(std::string_view nonce);
/// The functions that every line below calls. Answered by a `booted` frame with id 0.
std::string shell_bootstrap(ShellKind kind, std::string_view nonce);
/// Starts executor `slot`, or starts it anew; needed before its first command (bash only).
std::string shell_start(unsigned slot);
/// Runs `text` in executor `slot`. Throws Error{usage} for a NUL byte, which no shell text can
/// hold.
std::string shell_command(unsigned slot, std::uint64_t id, std::string_view text);
/// Sends the signal ("TERM", "KILL") to the process group of command `id`, if that is what the slot
/// runs.
std::string shell_kill(unsigned slot, std::uint64_t id, std::string_view signal);
/// Bytes for a file: a line, and after it the bytes in base64, which a program of the guest reads
/// from the shell's own stdin in large pieces (the shell itself reads one byte a call). They are
/// appended to `file`, a path that needs no quoting. Answered by a result with the code of
/// `base64`. Only where the shell reads its script unbuffered, as bash does.
std::string shell_input(std::uint64_t id, std::string_view file, std::string_view bytes);
/// base64 without line ends.
std::string shell_base64(std::string_view bytes);
/// What POSIX `cksum` prints for `bytes`, the first number.
std::uint32_t shell_checksum(std::string_view bytes);
/// Asks whether command `id` still runs.
std::string shell_check(unsigned slot, std::uint64_t id);
/// Ends whatever half-read line the shell is in, and asks for a pong with this id.
std::string shell_ping(std::uint64_t id);

}  // namespace attest::proto
