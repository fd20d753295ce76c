#include "lib/net/switching/vde_listener.h"

#include "lib/async/within.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/net/switching/vde_codec.h"
#include "lib/net/switching/vde_port.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <string>
#include <system_error>
#include <utility>

namespace attest::net {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 5s;
// libvdeplug binds "DIR/.PID-NNNNN", cuts what is too long without a word, and then tries for ever.
constexpr std::size_t longest_client_name = std::string_view("/.4194304-00000").size();

constexpr auto report = [](std::exception_ptr failure) {
  if (failure) std::rethrow_exception(failure);
};

std::filesystem::path make_directory(const std::filesystem::path& dir) {
  std::error_code failed;
  std::filesystem::remove_all(dir, failed);
  base::check(::mkdir(dir.c_str(), 0700),
              "making the VDE switch's directory '" + dir.string() + "'");
  // As clients will see it, so that the length is the one that counts.
  auto real = std::filesystem::canonical(dir, failed);
  auto length = std::max(dir.string().size(), real.string().size());
  if (length + longest_client_name > longest_socket_path) {
    ::rmdir(dir.c_str());
    throw Error(Error::Kind::host,
                "making the VDE switch's directory '" + dir.string() + "': its path has " +
                    std::to_string(length) + " bytes, clients take " +
                    std::to_string(longest_socket_path - longest_client_name) + " at most")
        .hint("use a shorter TMPDIR or work directory");
  }
  return dir;
}

// A datagram socket at `path` that is connected to the client's.
base::Fd data_socket(const std::string& path, const std::string& client) {
  base::Fd socket(base::check(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                              "making a VDE port's socket"));
  auto ours = encode_vde_answer(path);
  ::unlink(path.c_str());
  base::check(::bind(socket.get(), reinterpret_cast<const sockaddr*>(ours.data()),
                     static_cast<socklen_t>(ours.size())),
              "binding a VDE port's socket '" + path + "'");
  sockaddr_un theirs{};
  theirs.sun_family = AF_UNIX;
  std::memcpy(theirs.sun_path, client.data(), client.size());
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&theirs), sizeof theirs) < 0) {
    int code = errno;
    ::unlink(path.c_str());
    throw base::sys_error("connecting to a VDE client's socket '" + client + "'", code);
  }
  return socket;
}

Task<VdeRequest> read_request(std::shared_ptr<VdePort::Control> control) {
  std::string bytes;
  for (;;) {
    char buffer[longest_vde_request];
    auto count =
        ::recv(control->native_handle(), buffer, sizeof buffer - bytes.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) {
      co_await control->async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0)
      throw Error(Error::Kind::protocol, "a VDE client left in the middle of its request");
    bytes.append(buffer, static_cast<std::size_t>(count));
    if (auto request = decode_vde_request(bytes)) co_return *request;
  }
}

}  // namespace

struct VdeListener::Impl : std::enable_shared_from_this<Impl> {
  using Control = VdePort::Control;

  Impl(asio::any_io_executor loop_, std::filesystem::path dir_,
       std::function<void(std::shared_ptr<Port>)> joined_)
      : loop(loop_),
        dir(make_directory(dir_)),
        listener(loop, base::listen_unix((dir / "ctl").string()).release()),
        joined(std::move(joined_)) {
    listener.non_blocking(true);
  }

  void connect(const VdeRequest& request, Control& control);
  static Task<void> accept(std::shared_ptr<Impl> self);
  static Task<void> serve(std::shared_ptr<Impl> self, std::shared_ptr<Control> control);

  asio::any_io_executor loop;
  std::filesystem::path dir;
  Control listener;
  std::function<void(std::shared_ptr<Port>)> joined;
  std::set<std::shared_ptr<Control>> greeting;  // handshakes under way
  int last_number = 0;
  bool closed = false;
};

Task<void> VdeListener::Impl::accept(std::shared_ptr<Impl> self) {
  while (!self->closed) {
    int accepted = ::accept4(self->listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted >= 0) {
      auto control = std::make_shared<Control>(self->loop, accepted);
      self->greeting.insert(control);
      asio::co_spawn(self->loop, serve(self, control), report);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) {
      co_await self->listener.async_wait(asio::posix::descriptor_base::wait_read,
                                         asio::as_tuple(asio::use_awaitable));
      continue;
    }
    // No descriptors or no memory: nothing tells when there will be some again, and the client
    // waits in the backlog meanwhile.
    asio::steady_timer pause(self->loop, 100ms);
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

// Whatever is wrong with a client ends its connection, which tells it, and nothing else.
Task<void> VdeListener::Impl::serve(std::shared_ptr<Impl> self, std::shared_ptr<Control> control) {
  try {
    auto deadline = Deadline::after(patience);
    auto request =
        co_await async::within(deadline, "reading a VDE client's request", read_request(control));
    if (!self->closed) self->connect(request, *control);
  } catch (const Error&) {
    // garbage, nothing, or a socket that nobody listens on
  } catch (const boost::system::system_error&) {
    // the listener is being destroyed
  }
  self->greeting.erase(control);
}

void VdeListener::Impl::connect(const VdeRequest& request, Control& control) {
  auto path = (dir / std::to_string(++last_number)).string();
  auto socket = data_socket(path, request.address);
  auto answer = encode_vde_answer(path);
  auto told =
      ::send(control.native_handle(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (told != static_cast<ssize_t>(answer.size())) {
    ::unlink(path.c_str());
    return;
  }
  auto left = [path, directory = weak_from_this()] {
    if (auto still = directory.lock(); still && !still->closed) ::unlink(path.c_str());
  };
  auto port = std::make_shared<VdePort>(std::make_shared<DatagramPort>(loop, std::move(socket)),
                                        std::move(control), left);
  asio::co_spawn(loop, VdePort::watch(port), report);
  joined(port);
}

VdeListener::VdeListener(asio::any_io_executor loop, std::filesystem::path dir,
                         std::function<void(std::shared_ptr<Port>)> joined)
    : impl_(std::make_shared<Impl>(std::move(loop), std::move(dir), std::move(joined))) {
  asio::co_spawn(impl_->loop, Impl::accept(impl_), report);
}

VdeListener::~VdeListener() {
  impl_->closed = true;
  boost::system::error_code ignored;
  impl_->listener.close(ignored);
  for (auto& control : impl_->greeting) control->close(ignored);
  std::error_code remains;
  std::filesystem::remove_all(impl_->dir, remains);
}

const std::filesystem::path& VdeListener::dir() const noexcept { return impl_->dir; }

}  // namespace attest::net
