#include "lib/proto/vmm_http.h"

#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <optional>

namespace attest::proto {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;

constexpr std::uint32_t largest_head = 64 << 10;
constexpr std::uint64_t largest_body = 8 << 20;
constexpr std::size_t quoted = 200;

std::string quote(std::string_view bytes) {
  std::string text = base::printable(bytes.substr(0, quoted));
  return "'" + text + (bytes.size() > quoted ? "..." : "") + "'";
}

std::string serialise(const std::string& method, const std::string& target,
                      const std::string& body) {
  std::string bytes =
      method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n";
  if (!body.empty())
    bytes +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  return bytes + "\r\n" + body;
}

// Servers may leave the blank before an empty reason phrase out, which Beast insists on.
void mend_status_line(std::string& bytes) {
  constexpr std::size_t length = std::string_view("HTTP/1.1 400").size();
  if (bytes.starts_with("HTTP/1.") && bytes.find("\r\n") == length) bytes.insert(length, " ");
}

// Collects the replies to one request: any number of 1xx, then the one that counts.
class Reply {
 public:
  Reply() { begin(); }

  void feed(std::string_view came) {
    if (began_with_.size() <= quoted) began_with_ += came.substr(0, quoted + 1);
    bytes_ += came;
    while (!bytes_.empty() && !done()) {
      if (!parser_->got_some()) {
        // Until its first line is whole there is nothing to mend; a long one is not of HTTP.
        if (bytes_.find("\r\n") == std::string::npos && bytes_.size() < quoted && could_be_http()) {
          return;
        }
        mend_status_line(bytes_);
      }
      boost::system::error_code failure;
      std::size_t used = parser_->put(asio::buffer(bytes_), failure);
      bytes_.erase(0, used);
      if (failure == http::error::need_more) return;
      if (failure) refuse(failure);
      if (parser_->is_done() && parser_->get().result_int() / 100 == 1) begin();
      if (used == 0 && !parser_->is_done()) return;
    }
  }
  /// The peer has ended the connection. True if that completes the reply.
  bool end() {
    boost::system::error_code failure;
    if (parser_->got_some()) parser_->put_eof(failure);
    return done() && !failure;
  }

  bool done() const { return parser_->is_done(); }
  bool anything() const { return !began_with_.empty(); }
  const std::string& began_with() const { return began_with_; }
  /// What has been read behind the reply belongs to nothing.
  bool in_step() const { return bytes_.empty() && parser_->get().keep_alive(); }
  HttpReply take() {
    int status = static_cast<int>(parser_->get().result_int());
    return {status, std::move(parser_->get().body())};
  }

 private:
  void begin() {
    parser_.emplace();
    parser_->header_limit(largest_head);
    parser_->body_limit(largest_body);
    parser_->eager(true);
  }
  bool could_be_http() const {
    std::string_view magic = "HTTP/1.";
    return std::string_view(bytes_).starts_with(magic.substr(0, bytes_.size()));
  }
  [[noreturn]] void refuse(const boost::system::error_code& failure) const {
    std::string why = "is not HTTP (" + failure.message() + ")";
    if (failure == http::error::header_limit)
      why = "has a head of more than " + std::to_string(largest_head >> 10) + " KiB";
    if (failure == http::error::body_limit)
      why = "has a body of more than " + std::to_string(largest_body >> 20) + " MiB";
    throw Error(Error::Kind::protocol,
                "the reply " + why + "; it began with " + quote(began_with_));
  }

  std::optional<Parser> parser_;
  std::string bytes_, began_with_;
};

}  // namespace

struct VmmHttp::State {
  State(asio::any_io_executor on, std::string path)
      : loop(on), socket(std::move(path)), peer(on), turn(on) {}

  bool connect();
  /// True if nothing has come, not even the end, since the last reply.
  bool idle() {
    char byte;
    return ::recv(peer.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
  }
  void close() noexcept {
    boost::system::error_code ignored;
    peer.close(ignored);
  }
  Error gone(const std::string& what) const {
    return Error(Error::Kind::host, what + " (socket '" + socket + "')");
  }

  static Task<void> send(std::shared_ptr<State> self, std::string bytes,
                         std::vector<int> descriptors);
  static Task<HttpReply> receive(std::shared_ptr<State> self, bool sent);
  static Task<HttpReply> exchange(std::shared_ptr<State> self, std::string bytes,
                                  std::vector<int> descriptors);

  asio::any_io_executor loop;
  std::string socket;
  asio::posix::stream_descriptor peer;
  async::Mutex turn;
};

bool VmmHttp::State::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path)
    throw gone("the path of the API socket has " + std::to_string(socket.size()) +
               " bytes, the limit is " + std::to_string(sizeof address.sun_path - 1))
        .hint("use a shorter TMPDIR or work directory");
  std::memcpy(address.sun_path, socket.data(), socket.size());
  base::Fd fresh(base::check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                             "making a unix socket"));
  if (::connect(fresh.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == -1) {
    // Not there, not listening yet, or its queue is full.
    if (errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN) return false;
    throw base::sys_error("connecting to '" + socket + "'");
  }
  close();
  peer.assign(fresh.release());
  return true;
}

Task<void> VmmHttp::State::send(std::shared_ptr<State> self, std::string bytes,
                                std::vector<int> descriptors) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    iovec part{const_cast<char*>(rest.data()), rest.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    std::vector<char> control;
    if (!descriptors.empty()) {
      std::size_t length = descriptors.size() * sizeof(int);
      control.resize(CMSG_SPACE(length));
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(length);
      std::memcpy(CMSG_DATA(head), descriptors.data(), length);
    }
    if (!self->peer.is_open()) throw self->gone("the connection was closed");
    ssize_t count = ::sendmsg(self->peer.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      rest.remove_prefix(count);
      descriptors.clear();  // they went with the first bytes
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      co_await self->peer.async_wait(asio::posix::descriptor_base::wait_write, asio::use_awaitable);
    } else if (errno != EINTR) {
      throw base::sys_error("sending a request to '" + self->socket + "'");
    }
  }
}

Task<HttpReply> VmmHttp::State::receive(std::shared_ptr<State> self, bool sent) {
  Reply reply;
  std::array<char, 16384> buffer;
  while (!reply.done()) {
    if (!self->peer.is_open()) throw self->gone("the connection was closed");
    ssize_t count = ::recv(self->peer.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count > 0) {
      reply.feed({buffer.data(), std::size_t(count)});
    } else if (count == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      co_await self->peer.async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
    } else if (count == 0 || errno == ECONNRESET) {
      if (reply.end()) break;
      if (!reply.anything())
        throw self->gone(sent ? "the connection has ended without a reply"
                              : "the connection has ended before the request was sent");
      throw self->gone("the connection has ended in the middle of the reply " +
                       quote(reply.began_with()));
    } else if (errno != EINTR) {
      throw base::sys_error("reading a reply from '" + self->socket + "'");
    }
  }
  if (!reply.in_step() || !sent) self->close();
  co_return reply.take();
}

Task<HttpReply> VmmHttp::State::exchange(std::shared_ptr<State> self, std::string bytes,
                                         std::vector<int> descriptors) {
  auto lock = co_await self->turn.lock();
  if (!self->peer.is_open() || !self->idle())
    if (!self->connect()) throw self->gone("nobody listens on the API socket");
  // Whatever breaks this off leaves a connection of which nobody knows what comes next.
  struct Whole {
    State& state;
    bool done = false;
    ~Whole() {
      if (!done) state.close();
    }
  } whole{*self};
  std::exception_ptr failure;
  try {
    co_await send(self, std::move(bytes), std::move(descriptors));
  } catch (const Error&) {
    // A server with too many connections answers before it has read a word, and hangs up.
    failure = std::current_exception();
  }
  HttpReply reply = co_await receive(self, !failure);
  whole.done = true;
  co_return reply;
}

VmmHttp::VmmHttp(asio::any_io_executor loop, std::string socket)
    : state_(std::make_shared<State>(loop, std::move(socket))) {}

VmmHttp::~VmmHttp() { close(); }

bool VmmHttp::connect() { return (state_->peer.is_open() && state_->idle()) || state_->connect(); }

Task<HttpReply> VmmHttp::request(std::string method, std::string target, std::string body,
                                 Deadline deadline) {
  std::vector<int> none;
  co_return co_await request_with(std::move(method), std::move(target), std::move(body),
                                  std::move(none), deadline);
}

Task<HttpReply> VmmHttp::request_with(std::string method, std::string target, std::string body,
                                      std::vector<int> descriptors, Deadline deadline) {
  auto state = state_;
  std::string step = "waiting for the reply to '" + method + " " + target + "'";
  std::string bytes = serialise(method, target, body);
  std::optional<Error> failure;
  try {
    co_return co_await async::within(
        deadline, step, State::exchange(state, std::move(bytes), std::move(descriptors)));
  } catch (const Error& error) {
    failure = error;
  } catch (const boost::system::system_error&) {  // close() was called
    failure = state->gone("the connection was closed");
  }
  if (failure->kind() != Error::Kind::timeout) failure->during(step);
  throw *failure;
}

void VmmHttp::close() noexcept { state_->close(); }

}  // namespace attest::proto
