// The doorman's messages, one request and one reply, as bytes. Pure; a malformed message is
// nullopt whatever its lengths claim. The sockets themselves travel beside it (door_socket.h).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace attest::sandbox {

/// What the inside may ask for. A new duty is a new enumerator and a case in door_service.cc.
enum class DoorCall : std::uint8_t {
  dial = 1,
  listen = 2,
  ssh_agent = 3,
  run = 4,
  sweep_cgroup = 5
};

/// One request.
struct DoorRequest {
  DoorCall call = DoorCall::dial;
  std::uint16_t port = 0;
  std::uint32_t timeout_ms = 0;  ///< for the whole call, DNS included
  /// Name or address, command, or directory; at most max_text bytes, no NUL.
  std::string text;
  bool operator==(const DoorRequest&) const = default;
};

/// One reply; without an error a socket comes with it.
struct DoorReply {
  std::string error;       ///< empty: it worked; cut at max_text bytes
  std::uint16_t port = 0;  ///< the port that is listened on
  bool operator==(const DoorReply&) const = default;
};

inline constexpr std::size_t max_text = 4096;
/// No message is longer.
inline constexpr std::size_t max_message = 4200;

std::string encode(const DoorRequest& request);
std::string encode(const DoorReply& reply);
std::optional<DoorRequest> decode_request(std::string_view bytes);
std::optional<DoorReply> decode_reply(std::string_view bytes);

}  // namespace attest::sandbox
