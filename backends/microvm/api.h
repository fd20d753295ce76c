// A monitor's API as backends use it: requests whose refusal is an error in the monitor's own
// words.
#pragma once
#include "lib/proto/vmm_http.h"

#include <string>
#include <string_view>
#include <vector>

namespace attest::microvm {

/// One request. Backends make lists of them with pure functions, which golden files show.
struct Request {
  std::string method;  ///< "PUT"
  std::string path;    ///< "/machine-config", "/api/v1/vm.create"
  std::string body;    ///< JSON; "" for none
};

/// What a refusal's body says: the text of "fault_message" or "error", the strings of an array
/// joined with ": " (Cloud Hypervisor's chain of causes), or else the body itself, made printable
/// and cut to 2000 bytes. Pure, takes anything.
std::string fault_text(std::string_view body);

/// Loop thread only. Destroying it ends the connection.
class Api {
 public:
  /// `monitor` names it in messages: "Firecracker".
  Api(asio::any_io_executor loop, std::string socket, std::string monitor)
      : http_(loop, std::move(socket)), monitor_(std::move(monitor)) {}

  /// Returns as soon as the socket takes connections: it is tried after 250 us and then at growing
  /// intervals, up to 10 ms. Race it against MonitorProcess::dies(). Throws Error{timeout, host}.
  Task<void> wait_until_up(Deadline deadline);
  /// Sends it and returns the reply's body. Throws Error{host} "<monitor> refused PUT /x: <its
  /// words> (400)", and as VmmHttp::request.
  Task<std::string> call(Request request, Deadline deadline);
  /// The same with descriptors, which are borrowed, along with its first bytes.
  Task<std::string> call_with(Request request, std::vector<int> descriptors, Deadline deadline);
  /// All of them in their order; stops at the first that is refused.
  Task<void> call_all(std::vector<Request> requests, Deadline deadline);
  /// Sends it and returns whatever came, a refusal too.
  Task<proto::HttpReply> try_call(Request request, Deadline deadline);

  void close() noexcept { http_.close(); }

 private:
  std::string checked(const Request& request, proto::HttpReply reply) const;

  proto::VmmHttp http_;
  std::string monitor_;
};

}  // namespace attest::microvm
