// A socket to the kernel's rtnetlink, whose refusals are sentences: libnl maps errors to numbers
// of its own and drops the kernel's words, this keeps both.
#pragma once
#include "lib/net/kernel/request.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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
  void send(const Request& request);
  /// What the kernel said to one of several requests: 0 or its errno, and its words.
  struct Answer {
    int code = 0;
    std::string words;
  };
  /// Sends all (up to a hundred with each system call) and waits for all their answers, which are
  /// in the same order. The kernel carries out each, whatever became of those before. Throws
  /// Error{host} if the kernel cannot be asked at all.
  std::vector<Answer> exchange(const std::vector<Request>& requests);
  /// The same for one.
  Answer ask(const Request& request);
  /// code_of(), with the kernel's words.
  Answer answer_of(int result);
  /// fail() for an answer that is a refusal.
  [[noreturn]] void fail(const Answer& answer, const std::string& attempt);
  /// The kernel's number for the interface `name`; 0 if there is none. Looks in the namespace of
  /// this socket, wherever the thread is.
  int index_of(const std::string& name) const noexcept;

 private:
  void exchange(const Request* requests, std::size_t count, Answer* answers);
  std::size_t receive(std::uint32_t first, std::size_t count, Answer* answers);
  static int on_refusal(sockaddr_nl* from, nlmsgerr* refusal, void* self);

  std::unique_ptr<nl_sock, void (*)(nl_sock*)> socket_;
  int refused_ = 0;             ///< errno of the last refusal, until it is asked for
  std::string reason_;          ///< the kernel's words about it; may be empty
  std::uint32_t sequence_ = 0;  ///< of exchange(); libnl counts its own
  std::size_t at_once_;         ///< requests whose answers find room in the socket
};

}  // namespace attest::net
