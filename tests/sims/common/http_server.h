// HTTP/1.1 on a unix socket as micro_http does it, which both monitors use: its limits, its texts,
// and nothing that it does not know (no chunks, no compression).
#pragma once
#include "lib/async/net.h"
#include "lib/base/fd.h"
#include "tests/sims/common/trouble.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace attest::sims {

struct HttpRequest {
  std::string method;  ///< GET, PUT, PATCH, DELETE; others never get here
  std::string target;  ///< "/drives/root", as it came
  std::string body;
  /// Descriptors that came with the bytes of this request.
  std::vector<std::shared_ptr<base::Fd>> fds;
};

struct HttpReply {
  int status = 204;
  std::string body;             ///< JSON; none for 204
  bool deprecated = false;      ///< adds "Deprecation: true"
  std::function<void()> after;  ///< called once the bytes are with the kernel (to exit, say)
};

struct HttpSetup {
  std::string server = "Firecracker API";  ///< of the header Server
  std::size_t payload_limit = 51200;       ///< bytes of a body
  Trouble* trouble = nullptr;              ///< asked with "METHOD target"; outlives the server
  /// The body of Trouble's refuse (400) and http500.
  std::function<std::string(std::string text)> fault = [](std::string text) { return text; };
};

/// Serves while it lives. Requests of one connection are answered one at a time and in order, those
/// of several connections as they come; the handler may suspend. What it throws is status 500.
class HttpServer {
 public:
  using Handler = std::function<Task<HttpReply>(HttpRequest)>;

  /// `listener` is listening and non-blocking (it is made so).
  HttpServer(asio::any_io_executor loop, base::Fd listener, HttpSetup setup, Handler handler);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  /// Closes the listener and all connections; the path stays.
  ~HttpServer();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace attest::sims
