// The wire format between attest and attest-agent, which guest/agent/PROTOCOL.md describes byte by
// byte. Pure, standard types only, nothing throws: the agent links this file too, without
// exceptions. A broken peer shows as Decoder::broken(), never as memory or time spent without
// bound.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attest::proto {

/// The version of everything below; the only one there is.
inline constexpr int agent_version = 1;
/// The largest payload of a frame; a longer one breaks the connection.
inline constexpr std::size_t agent_frame_limit = 4 << 20;
/// What either side puts into one data frame at most, so that streams take turns.
inline constexpr std::size_t agent_data_limit = 64 << 10;
/// Bytes of data that may be under way on one stream in one direction before the receiver says
/// more.
inline constexpr std::size_t agent_window = 1 << 20;

/// So much more both sides allow on streams of trees, whose bytes are used up as they come: a
/// virtio port's ring holds 4 MiB of what the guest writes, and who waits for a word about the
/// window before the ring is full waits too often.
inline constexpr std::size_t agent_tree_window = 3 << 20;

/// What a frame is; the numbers are on the wire.
enum class AgentFrameType : std::uint8_t {
  open = 1,    ///< host: begins a stream; payload: fields, with "op"
  data = 2,    ///< both: one byte of channel, then bytes; counts against the window
  end = 3,     ///< both: one byte of channel, no more data on it
  window = 4,  ///< both: u32, so many more bytes of data may come
  event = 5,   ///< both: fields; news of a stream that goes on
  done = 6,    ///< agent: fields; the stream's last frame, it went well
  error = 7,   ///< agent: fields "kind" and "text"; the stream's last frame
  cancel = 8,  ///< host: end this; done or error still comes
  ping = 9,    ///< both: any bytes
  pong = 10    ///< both: the same bytes
};

/// Channels of data frames.
inline constexpr std::uint8_t agent_input = 0;   ///< to the agent: stdin, a file's content, a tree
inline constexpr std::uint8_t agent_output = 1;  ///< from it: stdout, a file's content, a tree
inline constexpr std::uint8_t agent_error_output = 2;  ///< from it: stderr

/// Names with values, in order; a name may stand several times (argv). Numbers are decimal text.
class AgentFields {
 public:
  AgentFields() = default;
  AgentFields(std::initializer_list<std::pair<std::string_view, std::string_view>> fields);

  AgentFields& add(std::string_view name, std::string_view value);
  AgentFields& add(std::string_view name, std::int64_t value);
  /// The first value of that name, or `otherwise`.
  std::string_view get(std::string_view name, std::string_view otherwise = {}) const;
  /// The first value of that name as a number; nullopt if it is missing or none.
  std::optional<std::int64_t> number(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;

  std::string encode() const;
  /// nullopt unless `bytes` are whole fields.
  static std::optional<AgentFields> decode(std::string_view bytes);
  bool operator==(const AgentFields&) const = default;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// One frame as it came.
struct AgentFrame {
  std::uint8_t type = 0;  ///< an AgentFrameType, or a number that this version does not know
  std::uint32_t stream = 0;
  std::string_view payload;  ///< valid until the decoder's next feed() or room()

  bool is(AgentFrameType which) const { return type == static_cast<std::uint8_t>(which); }
  /// Channel and bytes of a data frame, channel of an end frame; nullopt if there is not even that.
  std::optional<std::pair<std::uint8_t, std::string_view>> channel() const;
  /// A window frame's number.
  std::optional<std::uint32_t> credit() const;
};

/// A whole frame: header and payload, which must be within agent_frame_limit.
std::string agent_frame(AgentFrameType type, std::uint32_t stream, std::string_view payload = {});
/// The 10 bytes before the bytes of a data frame.
std::string agent_data_head(std::uint32_t stream, std::uint8_t channel, std::size_t size);
std::string agent_end(std::uint32_t stream, std::uint8_t channel);
std::string agent_window_frame(std::uint32_t stream, std::uint32_t credit);

/// The agent's first line: "ATTEST-AGENT/1 <fields as name=value words>\n". `asked` is the nonce of
/// the question that it answers, if one does.
std::string agent_greeting(std::string_view machine, std::string_view boot_id,
                           std::string_view asked = {});
/// The host's first line, answered by nothing: "ATTEST-HOST/1 <nonce>\n".
std::string agent_hello(std::string_view nonce);
/// Asks a silent agent to greet: "ATTEST-HOST/1 <nonce> ask\n".
std::string agent_question(std::string_view nonce);

/// What the greeting says.
struct AgentGreeting {
  int version = 0;
  std::string machine;  ///< "x86_64"
  std::string boot_id;  ///< the kernel's random id of this boot
  std::string nonce;    ///< of a hello or a question; in a greeting that of the question
  bool asks = false;    ///< it is no hello but a question
  bool operator==(const AgentGreeting&) const = default;
};

/// Finds the peer's first line in a stream of other bytes (a boot's noise, a cut-off frame), then
/// takes frames apart. Both ends use it: the host expects a greeting, the agent a hello.
class AgentDecoder {
 public:
  enum class Expect { greeting, hello };
  explicit AgentDecoder(Expect expect) : expect_(expect) {}

  /// Takes the next bytes, in pieces of any size.
  void feed(std::string_view bytes);
  /// The same without a copy: memory of at least `wish` bytes to be filled, then how many of them
  /// were. Frames that next() returned before are void.
  std::span<char> room(std::size_t wish = agent_data_limit);
  void filled(std::size_t count);
  /// True once the first line has come; frames follow it.
  bool greeted() const noexcept { return greeted_; }
  /// Valid once greeted; for Expect::hello only the version, the nonce and `asks`.
  const AgentGreeting& greeting() const noexcept { return greeting_; }
  /// The next whole frame, or nullopt until more bytes come. Never after broken().
  std::optional<AgentFrame> next();
  /// What is wrong with the stream for good ("" if nothing): a frame over the limit, another
  /// version.
  const std::string& broken() const noexcept { return broken_; }
  /// True if the bytes that wait for the rest of a frame end with a whole first line of the peer:
  /// it has started anew (a reboot) and the frame's rest will never come. Since the peer says
  /// nothing after that line until it is answered, this staying true for a moment is proof.
  bool restarted() const;
  /// Like restarted(), and nothing else can be meant: the line stands where a frame would begin,
  /// and a frame that long is not allowed. No need to wait.
  bool begins_anew() const { return line_here(); }
  /// Begins again at that line.
  void restart();
  /// After broken(): begins again at the next first line in what has come since the last frame, or
  /// will come.
  void start_over();
  /// Bytes before the first line, for messages; the last 2 KiB.
  const std::string& skipped() const noexcept { return skipped_; }

 private:
  std::string_view rest() const { return {memory_.get() + begin_, end_ - begin_}; }
  void find_first_line();
  std::optional<std::size_t> line_at_end() const;
  bool line_here() const;
  bool may_become_line() const;

  Expect expect_;
  bool greeted_ = false;
  AgentGreeting greeting_;
  std::string skipped_, broken_;
  std::unique_ptr<char[]> memory_;  // its bytes from begin_ to end_ wait to be returned
  std::size_t size_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace attest::proto
