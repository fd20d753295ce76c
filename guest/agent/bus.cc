#include "guest/agent/bus.h"

#include "guest/agent/file_text.h"
#include "guest/agent/files.h"
#include "guest/agent/piece.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace attest::agent {
namespace {
constexpr std::string_view bus_name = "org.freedesktop.DBus";
constexpr std::string_view bus_path = "/org/freedesktop/DBus";
constexpr std::string_view systemd_name = "org.freedesktop.systemd1";
}  // namespace

std::string run_directory() {
  const char* other = getenv("ATTEST_AGENT_RUN");
  return other ? other : "/run";
}

BusPaths BusPaths::system() {
  auto run = run_directory();
  return {run + "/systemd/private", run + "/dbus/system_bus_socket"};
}

BusPaths BusPaths::user(unsigned uid) {
  auto run = run_directory() + "/user/" + std::to_string(uid);
  return {run + "/systemd/private", run + "/bus"};
}

bool systemd_runs() {
  // What sd_booted() asks; or pid 1 has not got so far yet.
  if (access((run_directory() + "/systemd/system").c_str(), F_OK) == 0) return true;
  return read_small_file("/proc/1/comm", 64).value_or("") == "systemd\n";
}

Bus::Bus(Loop& loop, Signal signal, Lost lost)
    : loop_(loop), signal_(std::move(signal)), lost_(std::move(lost)) {}

Bus::~Bus() {
  if (socket_) loop_.forget(socket_.get());
}

int Bus::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  memcpy(address.sun_path, path.c_str(), path.size());
  socket_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_) return errno;
  if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    int code = errno;
    socket_.reset();
    return code;
  }
  outbox_ = dbus::hello(geteuid());
  loop_.watch(socket_.get(), EPOLLIN | EPOLLOUT,
              [this](std::uint32_t events) { on_ready(events); });
  return 0;
}

int Bus::connect_direct(const std::string& path) {
  direct_ = true;
  return connect(path);
}

int Bus::connect_bus(const std::string& path) {
  direct_ = false;
  if (int code = connect(path)) return code;
  auto ignore = [](const dbus::Message&) {};
  auto ask = [&](std::string_view member, const std::vector<std::string_view>& arguments) {
    call_at(bus_name, bus_path, bus_name, member, arguments, ignore);
  };
  ask("Hello", {});
  ask("AddMatch", {"type='signal',sender='org.freedesktop.systemd1'"});
  ask("AddMatch", {"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',"
                   "arg0='org.freedesktop.systemd1'"});
  // systemd tells a message bus nothing until somebody there wants it.
  call(systemd_path, manager_interface, "Subscribe", {}, ignore);
  return 0;
}

void Bus::call(std::string_view path, std::string_view interface, std::string_view member,
               const std::vector<std::string_view>& arguments, Reply reply) {
  call_at(direct_ ? std::string_view() : systemd_name, path, interface, member, arguments,
          std::move(reply));
}

void Bus::get(std::string_view path, std::string_view interface, std::string_view property,
              std::function<void(const dbus::Value*)> value) {
  call(path, properties_interface, "Get", {interface, property},
       [value = std::move(value)](const dbus::Message& message) {
         bool good = message.type == dbus::Message::Type::reply && message.body.size() == 1;
         value(good ? &message.body[0] : nullptr);
       });
}

void Bus::call_at(std::string_view destination, std::string_view path, std::string_view interface,
                  std::string_view member, const std::vector<std::string_view>& arguments,
                  Reply reply) {
  if (!socket_) return;
  auto& queue = let_in_ ? outbox_ : calls_;
  queue += dbus::encode_call(++serial_, destination, path, interface, member, arguments);
  waiting_[serial_] = std::move(reply);
  if (let_in_) loop_.change(socket_.get(), EPOLLIN | EPOLLOUT);
}

void Bus::flush() {
  while (socket_ && !outbox_.empty()) {
    auto size = send(socket_.get(), outbox_.data(), outbox_.size(), MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) return lose(std::string(error_text(errno)));
    outbox_.erase(0, static_cast<std::size_t>(size));
  }
  if (socket_) loop_.change(socket_.get(), EPOLLIN);
}

void Bus::on_ready(std::uint32_t events) {
  if (events & EPOLLOUT) flush();
  if (!socket_ || (events & ~EPOLLOUT) == 0) return;
  auto size = recv(socket_.get(), piece_buffer(), piece_size, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < 0) return lose(std::string(error_text(errno)));
  if (size == 0) return lose("systemd closed the connection");
  decoder_.feed({piece_buffer(), static_cast<std::size_t>(size)});
  while (auto message = decoder_.next()) {
    if (message->type == dbus::Message::Type::signal) {
      if (message->sender == bus_name && message->member == "NameOwnerChanged")
        return lose("systemd left the message bus");
      signal_(*message);
    } else if (auto found = waiting_.find(message->reply_serial); found != waiting_.end()) {
      auto reply = std::move(found->second);
      waiting_.erase(found);
      reply(*message);
    }
  }
  if (decoder_.accepted() && !std::exchange(let_in_, true)) {
    outbox_ += std::exchange(calls_, {});
    loop_.change(socket_.get(), EPOLLIN | EPOLLOUT);
  }
  if (!decoder_.broken().empty()) lose(decoder_.broken());
}

void Bus::lose(const std::string& why) {
  if (!socket_) return;
  loop_.forget(socket_.get());
  socket_.reset();
  waiting_.clear();
  lost_(why);
}

}  // namespace attest::agent
