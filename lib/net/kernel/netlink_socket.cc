#include "lib/net/kernel/netlink_socket.h"

#include "lib/base/sys_error.h"

#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace attest::net {
namespace {

// Only what libnl may find by itself, before or after it has asked the kernel.
int errno_of(int libnl_error) {
  switch (libnl_error) {
    case NLE_NOMEM:
      return ENOMEM;
    case NLE_OBJ_NOTFOUND:
    case NLE_NODEV:
      return ENODEV;
    case NLE_EXIST:
      return EEXIST;
    case NLE_PERM:
      return EPERM;
    case NLE_RANGE:
      return ERANGE;
    case NLE_OPNOTSUPP:
    case NLE_AF_NOSUPPORT:
      return EOPNOTSUPP;
    default:
      return EINVAL;
  }
}

// Answers wait in the socket until all requests of one system call were carried out, at most some
// 1.3 KB of the kernel's memory each; what finds no room is lost.
constexpr int room_for_answer = 2048;
constexpr int most_at_once = 100;
constexpr int room_for_requests = 64 * 1024;

// How many answers there is room for. The host's administrator limits it (net.core.rmem_max).
std::size_t answers_in(int fd) {
  int room = 0;
  socklen_t size = sizeof room;
  base::check(::getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, &size),
              "reading the size of a socket to the kernel's network");
  return static_cast<std::size_t>(std::clamp(room / room_for_answer, 1, most_at_once));
}

// What NETLINK_EXT_ACK adds behind a refusal.
std::string kernel_words(nlmsgerr* refusal) {
  auto* header = reinterpret_cast<nlmsghdr*>(refusal) - 1;  // it is its message's payload
  if (!(header->nlmsg_flags & NLM_F_ACK_TLVS)) return {};
  std::size_t before = sizeof *refusal;
  if (!(header->nlmsg_flags & NLM_F_CAPPED))
    before += NLMSG_ALIGN(refusal->msg.nlmsg_len) - NLMSG_HDRLEN;
  if (header->nlmsg_len < NLMSG_HDRLEN + before) return {};
  auto* first = reinterpret_cast<nlattr*>(reinterpret_cast<char*>(refusal) + before);
  auto size = static_cast<int>(header->nlmsg_len - NLMSG_HDRLEN - before);
  auto* text = ::nla_find(first, size, NLMSGERR_ATTR_MSG);
  if (!text) return {};
  std::string words(static_cast<const char*>(::nla_data(text)),
                    static_cast<std::size_t>(::nla_len(text)));
  return words.substr(0, words.find('\0'));
}

}  // namespace

NetlinkSocket::NetlinkSocket() : socket_(::nl_socket_alloc(), ::nl_socket_free) {
  if (!socket_) throw std::bad_alloc();
  check(::nl_connect(get(), NETLINK_ROUTE), "opening a socket to the kernel's network");
  // An older kernel has no words for its refusals: nothing else changes.
  int on = 1;
  ::setsockopt(::nl_socket_get_fd(get()), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(::nl_socket_get_fd(get()), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  ::nl_socket_set_buffer_size(get(), most_at_once * room_for_answer, room_for_requests);
  at_once_ = answers_in(::nl_socket_get_fd(get()));
  ::nl_socket_modify_err_cb(get(), NL_CB_CUSTOM, on_refusal, this);
}

int NetlinkSocket::on_refusal(sockaddr_nl*, nlmsgerr* refusal, void* self) {
  auto& socket = *static_cast<NetlinkSocket*>(self);
  socket.refused_ = -refusal->error;
  socket.reason_ = kernel_words(refusal);
  return -::nl_syserr2nlerr(refusal->error);
}

int NetlinkSocket::code_of(int result) noexcept {
  int refused = std::exchange(refused_, 0);
  if (result >= 0) return 0;
  return refused ? refused : errno_of(-result);
}

NetlinkSocket::Answer NetlinkSocket::answer_of(int result) {
  int code = code_of(result);
  auto words = std::exchange(reason_, {});
  return {code, code ? std::move(words) : std::string()};
}

void NetlinkSocket::fail(int code, const std::string& attempt) {
  auto reason = std::exchange(reason_, {});
  std::string text = base::sys_error(attempt, code).what();
  if (!reason.empty()) text += "; the kernel says '" + reason + "'";
  Error error(Error::Kind::host, text);
  if (code == EPERM)
    error.hint(
        "interfaces need CAP_NET_ADMIN in a network namespace of our own: run with the sandbox "
        "(attest::main, --attest_sandbox=auto)");
  throw error;
}

void NetlinkSocket::check(int result, const std::string& attempt) {
  if (int code = code_of(result)) fail(code, attempt);
}

void NetlinkSocket::fail(const Answer& answer, const std::string& attempt) {
  reason_ = answer.words;
  fail(answer.code, attempt);
}

void NetlinkSocket::send(const Request& request) {
  auto answer = ask(request);
  if (answer.code) fail(answer, request.attempt());
}

NetlinkSocket::Answer NetlinkSocket::ask(const Request& request) {
  Answer answer;
  exchange(&request, 1, &answer);
  return answer;
}

std::vector<NetlinkSocket::Answer> NetlinkSocket::exchange(const std::vector<Request>& requests) {
  std::vector<Answer> answers(requests.size());
  for (std::size_t done = 0; done < requests.size(); done += at_once_)
    exchange(&requests[done], std::min(at_once_, requests.size() - done), &answers[done]);
  return answers;
}

void NetlinkSocket::exchange(const Request* requests, std::size_t count, Answer* answers) {
  auto first = sequence_;
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    auto* header = requests[i].header();
    header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    header->nlmsg_seq = sequence_++;
    bytes.append(reinterpret_cast<const char*>(header), header->nlmsg_len);
    bytes.resize(NLMSG_ALIGN(bytes.size()));
  }
  int fd = ::nl_socket_get_fd(get());
  while (::send(fd, bytes.data(), bytes.size(), 0) < 0)
    if (errno != EINTR) fail(errno, requests[0].attempt());
  for (std::size_t missing = count; missing > 0;) missing -= receive(first, count, answers);
}

std::size_t NetlinkSocket::receive(std::uint32_t first, std::size_t count, Answer* answers) {
  alignas(nlmsghdr) char buffer[16384];
  auto got = ::recv(::nl_socket_get_fd(get()), buffer, sizeof buffer, 0);
  if (got < 0 && errno == EINTR) return 0;
  if (got < 0) fail(errno, "waiting for the kernel's answers about its interfaces");
  std::size_t found = 0;
  auto left = static_cast<int>(got);
  for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); ::nlmsg_ok(header, left);
       header = ::nlmsg_next(header, &left)) {
    auto number = header->nlmsg_seq - first;
    if (header->nlmsg_type != NLMSG_ERROR || number >= count) continue;
    auto* refusal = static_cast<nlmsgerr*>(::nlmsg_data(header));
    answers[number] = {-refusal->error, kernel_words(refusal)};
    ++found;
  }
  return found;
}

int NetlinkSocket::index_of(const std::string& name) const noexcept {
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) return 0;
  std::memcpy(request.ifr_name, name.data(), name.size());
  return ::ioctl(::nl_socket_get_fd(get()), SIOCGIFINDEX, &request) < 0 ? 0 : request.ifr_ifindex;
}

}  // namespace attest::net
