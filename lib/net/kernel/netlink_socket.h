// A socket to the kernel's rtnetlink, whose refusals are sentences: libnl maps errors to numbers
// of its own and drops the kernel's words, this keeps both.
#pragma once
#include <memory>
#include <string>

struct nl_msg;
struct nl_sock;
struct nlmsgerr;
struct sockaddr_nl;

namespace attest::net {

/// Talks to the network namespace that the thread is in when it is made, for as long as it lives.
/// One thread at a time.
class NetlinkSocket {
 public:
  /// Throws Error{host}.
  NetlinkSocket();
  NetlinkSocket(const NetlinkSocket&) = delete;
  NetlinkSocket& operator=(const NetlinkSocket&) = delete;

  /// For libnl's calls; the result of each goes through check() or code_of().
  nl_sock* get() const noexcept { return socket_.get(); }
  /// The errno with which the kernel (or libnl) refused the call before, which returned `result`;
  /// 0: it did not.
  int code_of(int result) noexcept;
  /// Throws "<attempt>: <reason> (errno N)" as an Error{host}, with what the kernel said about its
  /// last refusal and what helps.
  [[noreturn]] void fail(int code, const std::string& attempt);
  /// code_of(), and fail() unless it is 0.
  void check(int result, const std::string& attempt);
  /// Sends a request and waits for the kernel's consent. Throws as check() does.
  void send(std::unique_ptr<nl_msg, void (*)(nl_msg*)> message, const std::string& attempt);

 private:
  static int on_refusal(sockaddr_nl* from, nlmsgerr* refusal, void* self);

  std::unique_ptr<nl_sock, void (*)(nl_sock*)> socket_;
  int refused_ = 0;     ///< errno of the last refusal, until it is asked for
  std::string reason_;  ///< the kernel's words about it; may be empty
};

}  // namespace attest::net
