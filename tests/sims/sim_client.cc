#include "tests/sims/sim_client.h"

#include "tests/sims/common/socket.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace attest::sims {
namespace {

constexpr int patience_ms = 60'000;

// False after the patience.
bool ready(int fd, short what = POLLIN) {
  pollfd one{fd, what, 0};
  return ::poll(&one, 1, patience_ms) == 1;
}

}  // namespace

SimProcess::SimProcess(std::vector<std::string> argv, const std::string& output,
                       std::vector<std::string> env) {
  std::vector<char*> words;
  for (auto& word : argv) words.push_back(word.data());
  words.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  ::dup2(out, 1);
  ::dup2(out, 2);
  for (auto& one : env) ::putenv(one.data());
  ::execv(words[0], words.data());
  ::_exit(127);
}

SimProcess::~SimProcess() { kill(); }

void SimProcess::kill() {
  if (!running()) return;
  ::kill(pid_, SIGKILL);
  wait();
}

bool SimProcess::running() {
  if (code_ >= 0) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return false;
}

int SimProcess::wait() {
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  while (running()) {
    if (std::chrono::steady_clock::now() > until) {
      ADD_FAILURE() << "the stand-in did not end";
      return -1;
    }
    ::usleep(2000);
  }
  return code_;
}

SimSocket::SimSocket(const std::string& path) {
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  for (fd_ = try_connect(path); !fd_; fd_ = try_connect(path)) {
    if (std::chrono::steady_clock::now() > until)
      throw std::runtime_error("nobody listens on '" + path + "'");
    ::usleep(2000);
  }
}

SimSocket::SimSocket(base::Fd fd) : fd_(std::move(fd)) {}

void SimSocket::send(const std::string& bytes) { send_with(bytes, -1); }

void SimSocket::send_with(const std::string& bytes, int fd) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ready(fd_.get(), POLLOUT);
  EXPECT_EQ(::sendmsg(fd_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()))
      << std::strerror(errno);
}

bool SimSocket::more() {
  if (!ready(fd_.get())) throw std::runtime_error("nothing came in a minute");
  std::array<char, 65536> bytes;
  ssize_t count = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  if (count <= 0) return false;
  pending_.append(bytes.data(), static_cast<std::size_t>(count));
  return true;
}

std::string SimSocket::line() {
  std::size_t end;
  while ((end = pending_.find('\n')) == std::string::npos)
    if (!more()) return std::exchange(pending_, {});
  return read(end + 1);
}

std::string SimSocket::read(std::size_t count) {
  while (pending_.size() < count)
    if (!more()) break;
  std::string result = pending_.substr(0, count);
  pending_.erase(0, count);
  return result;
}

bool SimSocket::quiet() {
  pollfd one{fd_.get(), POLLIN, 0};
  return pending_.empty() && ::poll(&one, 1, 2500) == 0;
}

bool SimSocket::at_end() { return pending_.empty() && !more(); }

SimReply SimSocket::reply() {
  SimReply reply;
  for (std::string next = line(); next != "\r\n" && !next.empty(); next = line())
    reply.head += next;
  if (reply.head.size() > 12) reply.status = std::atoi(reply.head.c_str() + 9);
  auto length = reply.head.find("Content-Length: ");
  if (length != std::string::npos)
    reply.body = read(std::strtoul(reply.head.c_str() + length + 16, nullptr, 10));
  return reply;
}

SimReply SimSocket::request(const std::string& method, const std::string& target,
                            const std::string& body) {
  send(method + " " + target + " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
       "\r\n\r\n" + body);
  return reply();
}

SimListener::SimListener(const std::string& path) : fd_(listen_new(path)) {}

SimSocket SimListener::accept() {
  if (!ready(fd_.get())) throw std::runtime_error("nobody connected in a minute");
  return SimSocket(base::Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)));
}

}  // namespace attest::sims
