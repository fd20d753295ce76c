// The wire format of a VDE switch's control socket: a client's request for a port, and the answer.
// Facts from vde-2's src/vde_switch/datasock.c and libvdeplug 4.0.1's libvdeplug_vde.c: all is in
// the byte order of the machine, packed:
//   version 3   u32 magic 0xfeedface, u32 3, u32 type, sockaddr_un client (110 bytes), description
//   version 1   u32 magic 0xfeedface, u32 type, a MAC (6 bytes), sockaddr_un client, description
//   answer      sockaddr_un of the switch's datagram socket for this client
// The low byte of `type` is 0 for a port and 1 for a management port, the rest the number of the
// port that the client wants, 0 for any. The description is as long as it is, without a NUL, and
// ends where the client's one send() ends. After that the control connection is silent; its end is
// the end of the port. Pure; vde_listener.h does the talking.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace attest::net {

/// The most bytes of a request that mean something: more are no part of one.
inline constexpr std::size_t longest_vde_request = 256;
/// A sockaddr_un holds no longer path of a socket, its NUL not counted.
inline constexpr std::size_t longest_socket_path = 107;

struct VdeRequest {
  int port = 0;             ///< that the client wants; 0: any
  bool management = false;  ///< asks for the switch's port 0, which is no part of its network there
  /// The client's datagram socket: an absolute path, or all 108 bytes of an abstract name, the
  /// first of which is NUL.
  std::string address;
  std::string description;  ///< for people; whatever bytes the client sent, at most 128
};

/// Understands what has come so far; nullopt when more must come. The description may be cut short
/// if `bytes` is. Throws Error{protocol} for what cannot become a request, as soon as it shows.
std::optional<VdeRequest> decode_vde_request(std::string_view bytes);

/// The answer: the datagram socket at `path` is the client's port. Throws Error{usage} for a path
/// that does not fit.
std::string encode_vde_answer(std::string_view path);

}  // namespace attest::net
