// HTTP to a monitor's API (Firecracker, Cloud Hypervisor) over its unix socket: one request at a
// time, on a connection that is kept. The only file that includes Boost.Beast is vmm_http.cc. Loop
// thread only.
#pragma once
#include "lib/async/net.h"

#include <memory>
#include <string>
#include <vector>

namespace attest::proto {

/// What came back. A refusal (400, 500, 503, ...) is a value: its body says why.
struct HttpReply {
  int status = 0;    ///< 204
  std::string body;  ///< as it came, JSON or not; "" for none
  bool ok() const { return status >= 200 && status < 300; }
};

/// A client of one API socket. It connects at the first request, and again after the connection
/// has ended. Destroying it closes the connection; requests under way then fail.
class VmmHttp {
 public:
  /// `socket`: path of the listening unix socket, at most 107 bytes. Nothing is connected yet.
  VmmHttp(asio::any_io_executor loop, std::string socket);
  VmmHttp(const VmmHttp&) = delete;
  VmmHttp& operator=(const VmmHttp&) = delete;
  ~VmmHttp();

  /// Connects unless connected. False, at once, if nobody listens (yet): there is no such file, or
  /// it refuses. Throws Error{host} for anything else.
  bool connect();

  /// Sends a request and returns its reply. `target` is the path, "/machine-config"; an empty
  /// `body` sends none. Requests wait for each other. A connection that had ended while it was idle
  /// is made anew, without anything being sent twice. Throws Error{host} if nobody listens or the
  /// connection ends before the whole reply, Error{protocol} quoting what came if that is no HTTP,
  /// or a head over 64 KiB, or a body over 8 MiB; Error{timeout}. The connection is closed by all
  /// of these: what the peer makes of the request is not known then.
  Task<HttpReply> request(std::string method, std::string target, std::string body,
                          Deadline deadline);
  /// The same with descriptors that go along with the request's first bytes (SCM_RIGHTS). They are
  /// borrowed, and must stay open until this returns.
  Task<HttpReply> request_with(std::string method, std::string target, std::string body,
                               std::vector<int> descriptors, Deadline deadline);

  /// Ends the connection; a request under way fails. The next one connects again.
  void close() noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace attest::proto
