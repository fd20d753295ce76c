// A scripted server on a unix socket: each connection is served by the next script, on a thread.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/file.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace attest {

/// One connection, from the server's side. Blocking.
class ServedPeer {
 public:
  explicit ServedPeer(base::Fd fd) : fd_(std::move(fd)) {}

  /// Reads one request, its body by its Content-Length included; "" at the end.
  std::string hear() {
    std::string text;
    while (text.find("\r\n\r\n") == std::string::npos)
      if (!more(text)) return text;
    auto head = text.find("\r\n\r\n") + 4;
    auto at = text.find("Content-Length: ");
    std::size_t length = at < head ? std::stoul(text.substr(at + 16)) : 0;
    while (text.size() < head + length)
      if (!more(text)) break;
    return text;
  }
  /// Up to and with the next line end.
  std::string hear_line() {
    std::string text;
    while (!text.ends_with('\n') && more(text, 1)) {
    }
    return text;
  }
  void say(const std::string& bytes) {
    std::string_view rest = bytes;
    while (!rest.empty()) {
      ssize_t count = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      rest.remove_prefix(std::size_t(count));
    }
  }
  /// Waits until the other side has closed the connection.
  void wait_end() {
    std::string ignored;
    while (more(ignored)) {
    }
  }
  int fd() const { return fd_.get(); }

 private:
  bool more(std::string& text, std::size_t most = 4096) {
    char buffer[4096];
    ssize_t count = ::recv(fd_.get(), buffer, most, 0);
    if (count > 0) text.append(buffer, std::size_t(count));
    return count > 0;
  }

  base::Fd fd_;
};

/// Serves scripts.size() connections, one after the other.
class ScriptedServer {
 public:
  using Script = std::function<void(ServedPeer&)>;

  explicit ScriptedServer(std::vector<Script> scripts, const std::string& name = "api.sock")
      : path_((dir_.path() / name).string()), listener_(base::listen_unix(path_)) {
    thread_ = std::jthread([this, scripts = std::move(scripts)] {
      for (auto& script : scripts) {
        base::Fd one(::accept(listener_.get(), nullptr, nullptr));
        if (!one) return;
        ServedPeer peer(std::move(one));
        script(peer);
      }
    });
  }
  ~ScriptedServer() { ::shutdown(listener_.get(), SHUT_RDWR); }

  const std::string& path() const { return path_; }

 private:
  base::TempDir dir_;
  std::string path_;
  base::Fd listener_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace attest
