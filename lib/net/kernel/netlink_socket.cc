#include "lib/net/kernel/netlink_socket.h"

#include "lib/base/sys_error.h"

#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <sys/socket.h>

#include <cerrno>
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

void NetlinkSocket::send(std::unique_ptr<nl_msg, void (*)(nl_msg*)> message,
                         const std::string& attempt) {
  check(::nl_send_sync(get(), message.release()), attempt);  // which frees it
}

}  // namespace attest::net
