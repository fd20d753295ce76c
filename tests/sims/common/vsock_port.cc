#include "tests/sims/common/vsock_port.h"

#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/proto/agent_codec.h"
#include "lib/proto/shell.h"
#include "tests/sims/common/socket.h"
#include "tests/sims/common/trace.h"

#include <boost/asio/write.hpp>

#include <array>

namespace attest::sims {
namespace {

using namespace std::chrono_literals;

constexpr auto dial_interval = 50ms;  ///< as the agent does it
constexpr auto question_interval = 500ms;
constexpr std::size_t most_pending = 64 << 10;

Task<void> sleep(std::chrono::nanoseconds span) {
  asio::steady_timer timer(co_await asio::this_coro::executor, span);
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace

const std::vector<VsockPortRule>& vsock_port_rules() {
  static const std::vector<VsockPortRule> rules = {
      {.number = 1024, .chardev = "agent", .banner = "\nATTEST-AGENT/", .agent = true},
      {.number = 1234,
       .chardev = "shell",
       .banner = std::string(proto::shell_banner),
       .agent = false}};
  return rules;
}

VsockPort::VsockPort(asio::any_io_executor loop, VsockPortRule rule, Place place)
    : loop_(loop), rule_(std::move(rule)), place_(std::move(place)), changed_(loop), said_(loop) {}

void VsockPort::start() {
  auto self = shared_from_this();
  asio::co_spawn(loop_, run(self), [](std::exception_ptr) {});
  if (rule_.agent) asio::co_spawn(loop_, dial(self), [](std::exception_ptr) {});
}

Task<void> VsockPort::run(Self self) {
  bool ask = self->place_.restored;
  // The shell was there when the state was saved; it does not say so again.
  if (ask && !self->rule_.agent) {
    self->heard_ = true;
    self->pending_ = self->rule_.banner;
  }
  while (!self->stopped_) {
    base::Fd fd = self->place_.vm->connect_channel(self->rule_.chardev);
    auto channel = std::make_shared<Descriptor>(self->loop_, fd.release());
    self->channel_ = channel;
    if (self->rule_.agent) {
      self->heard_ = false;
      self->pending_.clear();
      self->asked_ = ask ? base::random_hex(8) : "";
      if (ask) asio::co_spawn(self->loop_, ask_to_greet(self, channel), [](std::exception_ptr) {});
    }
    self->changed_.pulse();
    try {
      co_await read_channel(self, channel);
    } catch (const std::exception&) {
      // QEMU is gone, or somebody has closed it: what follows is the same.
    }
    if (self->channel_ == channel) self->channel_.reset();
    boost::system::error_code ignored;
    if (self->peer_) self->peer_->close(ignored);
    // From now on it may not have noticed that there was another host.
    ask = true;
    if (!self->place_.vm || !self->place_.vm->alive()) co_return;
  }
}

Task<void> VsockPort::read_channel(Self self, std::shared_ptr<Descriptor> channel) {
  std::array<char, 65536> bytes;
  for (;;) {
    co_await self->place_.gate->open();
    auto [failure, count] =
        co_await channel->async_read_some(asio::buffer(bytes), asio::as_tuple(asio::use_awaitable));
    if (failure) co_return;
    if (self->peer_ready_ && !self->rule_.agent) {
      self->outbox_.append(bytes.data(), count);
      self->said_.pulse();
      continue;
    }
    if (self->peer_ready_) {
      auto peer = self->peer_;
      co_await asio::async_write(*peer, asio::buffer(bytes.data(), count),
                                 asio::as_tuple(asio::use_awaitable));
      trace(Passing::out, "vsock");
      continue;
    }
    self->pending_.append(bytes.data(), count);
    if (auto banner = self->banner(); banner != std::string::npos && !self->peer_) {
      self->pending_.erase(0, banner);
      self->asked_.clear();
      self->heard_ = true;
      self->changed_.pulse();
    }
    if (!self->peer_ && self->pending_.size() > most_pending)
      self->pending_.erase(0, self->pending_.size() - most_pending);
  }
}

// Where the pending bytes have what they must begin with; npos before that has come.
std::size_t VsockPort::banner() const {
  auto at = pending_.rfind(rule_.banner);
  // What was meant for a host before ours does not count.
  if (at == pending_.npos || asked_.empty()) return at;
  return pending_.find(" asked=" + asked_ + "\n", at) == pending_.npos ? pending_.npos : at;
}

Task<void> VsockPort::ask_to_greet(Self self, std::shared_ptr<Descriptor> channel) {
  std::string question = proto::agent_question(self->asked_);
  while (self->channel_ == channel && !self->heard_) {
    co_await self->place_.gate->open();
    co_await asio::async_write(*channel, asio::buffer(question), asio::use_awaitable);
    co_await sleep(question_interval);
  }
}

Task<void> VsockPort::dial(Self self) {
  std::string what = "DIAL " + std::to_string(self->rule_.number);
  std::string path = self->place_.path + "_" + std::to_string(self->rule_.number);
  while (!self->stopped_) {
    while (!self->free() && !self->stopped_) co_await self->changed_.next();
    co_await self->place_.gate->open();
    if (!self->free()) continue;
    auto trouble = self->place_.trouble ? self->place_.trouble->suffer(what) : Trouble::Kind::none;
    if (trouble == Trouble::Kind::stall) co_return;
    base::Fd fd;
    if (trouble == Trouble::Kind::none || trouble == Trouble::Kind::garbage) fd = try_connect(path);
    if (!fd) {
      co_await sleep(dial_interval);
      continue;
    }
    std::string first = trouble == Trouble::Kind::garbage ? "\x16\x03 garbage" : "";
    self->take(std::make_shared<Descriptor>(self->loop_, fd.release()), first);
  }
}

Task<bool> VsockPort::wait_free(Deadline until) {
  Self self = shared_from_this();
  while (!self->free()) {
    if (self->stopped_) co_return false;
    try {
      co_await async::within(until, "", self->changed_.next());
    } catch (const Error&) {
      co_return false;
    }
  }
  co_return true;
}

void VsockPort::take(std::shared_ptr<Descriptor> socket, std::string answer) {
  peer_ = socket;
  peer_ready_ = false;
  Self self = shared_from_this();
  asio::co_spawn(loop_, serve_peer(self, socket, std::move(answer)),
                 [self, socket](std::exception_ptr) {
                   boost::system::error_code ignored;
                   socket->close(ignored);
                   if (self->peer_ != socket) return;
                   self->peer_.reset();
                   self->peer_ready_ = false;
                   self->said_.pulse();
                   if (self->rule_.agent)
                     self->reset();  // so that it sees an end, too
                   else
                     self->pending_ = self->rule_.banner;
                   self->changed_.pulse();
                 });
}

Task<void> VsockPort::write_out(Self self, std::shared_ptr<Descriptor> peer) {
  while (self->peer_ == peer) {
    while (self->outbox_.empty() && self->peer_ == peer) co_await self->said_.next();
    std::string bytes = std::exchange(self->outbox_, {});
    co_await asio::async_write(*peer, asio::buffer(bytes), asio::use_awaitable);
    trace(Passing::out, "vsock");
  }
}

Task<void> VsockPort::serve_peer(Self self, std::shared_ptr<Descriptor> peer, std::string answer) {
  std::string first = answer;
  do {
    first += std::exchange(self->pending_, {});
    co_await asio::async_write(*peer, asio::buffer(first), asio::use_awaitable);
    first.clear();
    trace(Passing::out, "vsock");
  } while (!self->pending_.empty());
  self->peer_ready_ = true;
  self->outbox_.clear();
  if (!self->rule_.agent)
    asio::co_spawn(self->loop_, write_out(self, peer), [](std::exception_ptr) {});
  std::array<char, 65536> bytes;
  for (;;) {
    co_await self->place_.gate->open();
    std::size_t count = co_await peer->async_read_some(asio::buffer(bytes), asio::use_awaitable);
    trace(Passing::in, "vsock");
    co_await self->place_.gate->open();
    auto channel = self->channel_;
    if (!channel) co_return;
    co_await asio::async_write(*channel, asio::buffer(bytes.data(), count), asio::use_awaitable);
  }
}

void VsockPort::reset() {
  boost::system::error_code ignored;
  if (peer_) peer_->close(ignored);
  // The agent's port is opened anew.
  if (channel_ && rule_.agent) channel_->close(ignored);
}

void VsockPort::stop() {
  stopped_ = true;
  place_.vm = nullptr;
  boost::system::error_code ignored;
  if (peer_) peer_->close(ignored);
  if (channel_) channel_->close(ignored);
  changed_.pulse();
}

}  // namespace attest::sims
