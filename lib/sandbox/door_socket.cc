#include "lib/sandbox/door_socket.h"

#include "lib/base/sys_error.h"
#include "lib/sandbox/door_codec.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace attest::sandbox {

using base::Fd;

std::pair<Fd, Fd> packet_pair() {
  int ends[2];
  base::check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends),
              "making a pair of packet sockets");
  return {Fd(ends[0]), Fd(ends[1])};
}

bool send_packet(int socket, std::string_view bytes, int fd) noexcept {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

Packet receive_packet(int socket) {
  char bytes[max_message + 1];
  iovec part{bytes, sizeof bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count;
  do count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);

  Packet packet;
  if (count <= 0) return packet;
  // The kernel has closed descriptors beyond the first: there was no room for them.
  if (cmsghdr* header = CMSG_FIRSTHDR(&message); header && header->cmsg_level == SOL_SOCKET &&
                                                 header->cmsg_type == SCM_RIGHTS &&
                                                 header->cmsg_len >= CMSG_LEN(sizeof(int))) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    packet.fd.reset(fd);
  }
  packet.bytes.assign(bytes, static_cast<std::size_t>(count));
  return packet;
}

}  // namespace attest::sandbox
