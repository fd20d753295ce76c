// Tests speak with a stand-in by this: plain blocking sockets, none of the library's own clients.
#pragma once
#include "lib/base/fd.h"

#include <string>
#include <vector>

namespace attest::sims {

/// A stand-in in a process of its own, which ends with this or with the test. `output` takes its
/// stdout and stderr; stdin is /dev/null. `env` is "NAME=value".
class SimProcess {
 public:
  SimProcess(std::vector<std::string> argv, const std::string& output,
             std::vector<std::string> env = {});
  SimProcess(const SimProcess&) = delete;
  SimProcess& operator=(const SimProcess&) = delete;
  ~SimProcess();
  /// Its exit code, or 128 and the signal; fails the test if it is still there after a minute.
  int wait();
  bool running();
  void kill();

 private:
  int pid_ = -1;
  int code_ = -1;
};

struct SimReply {
  int status = 0;
  std::string head, body;
};

/// A connection to a unix socket. Reads give up after a minute, and fail the test then.
class SimSocket {
 public:
  /// Connects as soon as somebody listens.
  explicit SimSocket(const std::string& path);
  /// One that was accepted.
  explicit SimSocket(base::Fd fd);

  void send(const std::string& bytes);
  /// The same, with a descriptor.
  void send_with(const std::string& bytes, int fd);
  /// Up to and with the next line end; what came before the end otherwise.
  std::string line();
  std::string read(std::size_t count);
  /// Nothing comes, not even an end, for longer than a vsock connection may take (2 s).
  bool quiet();
  /// Nothing more comes.
  bool at_end();

  SimReply request(const std::string& method, const std::string& target,
                   const std::string& body = "");
  SimReply reply();

 private:
  bool more();
  base::Fd fd_;
  std::string pending_;
};

/// Listens and accepts, with the same patience.
class SimListener {
 public:
  explicit SimListener(const std::string& path);
  SimSocket accept();

 private:
  base::Fd fd_;
};

}  // namespace attest::sims
