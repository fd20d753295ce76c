#include "backends/ssh/channel.h"

#include "lib/async/all.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace attest::ssh {
namespace {

using Kind = Error::Kind;

constexpr std::size_t packet = 32 << 10;

// Waits for the host's word, which may take long; nobody waits for this.
Task<void> retire(std::shared_ptr<Session> session, LIBSSH2_CHANNEL* raw) {
  co_await session->repeat([raw] { return libssh2_channel_free(raw); });
}

Task<void> collect(std::shared_ptr<Channel> channel, Channel::Source source, std::string* text,
                   std::size_t limit) {
  std::vector<char> buffer(64 << 10);
  while (auto count = co_await channel->read(source, buffer))
    text->append(buffer.data(), std::min(count, limit - std::min(limit, text->size())));
}

// A command that does not want its input is no failure: its ending tells.
Task<void> feed(std::shared_ptr<Channel> channel, std::string input) {
  try {
    co_await channel->write(input);
    co_await channel->send_eof();
  } catch (const Error&) {
    if (channel->session()->lost()) throw;
  }
}

class ChannelStream final : public Stream {
 public:
  ChannelStream(std::shared_ptr<Channel> channel, std::string first)
      : channel_(std::move(channel)), first_(std::move(first)) {}
  ~ChannelStream() override { close(); }

  Task<std::size_t> read_some(std::span<char> buffer) override {
    if (first_.empty()) co_return co_await channel_->read(Channel::standard_output, buffer);
    const auto count = std::min(buffer.size(), first_.size());
    std::copy_n(first_.begin(), count, buffer.begin());
    first_.erase(0, count);
    co_return count;
  }
  Task<void> write_all(std::string_view bytes) override { return channel_->write(bytes); }
  void close() noexcept override { channel_->close(); }

 private:
  std::shared_ptr<Channel> channel_;
  std::string first_;
};

}  // namespace

std::string Ending::words() const {
  return signal.empty() ? "exited with code " + std::to_string(code)
                        : "was killed by signal " + signal;
}

Task<std::shared_ptr<Channel>> Channel::exec(std::shared_ptr<Session> session,
                                             std::string command) {
  return begin(std::move(session), "exec", std::move(command));
}

Task<std::shared_ptr<Channel>> Channel::subsystem(std::shared_ptr<Session> session,
                                                  std::string name) {
  return begin(std::move(session), "subsystem", std::move(name));
}

Task<std::shared_ptr<Channel>> Channel::begin(std::shared_ptr<Session> session, std::string kind,
                                              std::string command) {
  auto alone = co_await session->one_at_a_time().lock();
  LIBSSH2_CHANNEL* raw = nullptr;
  auto open = [&] {
    raw = libssh2_channel_open_session(session->raw());
    return raw ? 0 : libssh2_session_last_errno(session->raw());
  };
  if (co_await session->repeat(open) != 0)
    throw session->failure("opening a channel on " + session->peer());
  auto channel = std::make_shared<Channel>(session, raw);
  auto start = [&] {
    return libssh2_channel_process_startup(raw, kind.data(), static_cast<unsigned>(kind.size()),
                                           command.data(), static_cast<unsigned>(command.size()));
  };
  if (co_await session->repeat(start) != 0)
    throw session->failure("starting a command on " + session->peer());
  co_return channel;
}

Task<std::size_t> Channel::read(Source source, std::span<char> buffer) {
  auto self = shared_from_this();
  auto step = [&]() -> int {
    if (!raw_) return 0;
    auto count = libssh2_channel_read_ex(raw_, source, buffer.data(), buffer.size());
    if (count != 0) return static_cast<int>(count);
    return libssh2_channel_eof(raw_) ? 0 : LIBSSH2_ERROR_EAGAIN;
  };
  const int count = co_await session_->repeat(step);
  if (count > 0) session_->wake();  // the end of the other stream shows when this one is empty
  if (count >= 0) co_return static_cast<std::size_t>(count);
  if (count == LIBSSH2_ERROR_CHANNEL_CLOSED) co_return 0;
  throw session_->failure("reading from a command on " + session_->peer());
}

Task<void> Channel::write(std::string_view bytes) {
  auto self = shared_from_this();
  while (!bytes.empty()) {
    auto step = [&]() -> int {
      if (!raw_) return LIBSSH2_ERROR_CHANNEL_CLOSED;
      if (session_->congested()) return LIBSSH2_ERROR_EAGAIN;
      const auto count = libssh2_channel_write(raw_, bytes.data(), std::min(bytes.size(), packet));
      if (count != 0 && count != LIBSSH2_ERROR_EAGAIN) return static_cast<int>(count);
      // The host's window is full; it stays so when the command is gone.
      return is_closed() ? LIBSSH2_ERROR_CHANNEL_CLOSED : LIBSSH2_ERROR_EAGAIN;
    };
    const int count = co_await session_->repeat(step);
    if (count == LIBSSH2_ERROR_CHANNEL_CLOSED || count == LIBSSH2_ERROR_CHANNEL_EOF_SENT)
      throw Error(Kind::host, "a command on " + session_->peer() + " takes no more input");
    if (count < 0) throw session_->failure("writing to a command on " + session_->peer());
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

// libssh2 tells it only to who waits for it, and lets nobody wait before the end of the streams.
bool Channel::is_closed() {
  return libssh2_channel_eof(raw_) == 1 && libssh2_channel_wait_closed(raw_) == 0;
}

Task<void> Channel::send_eof() {
  auto self = shared_from_this();
  auto step = [&] { return raw_ ? libssh2_channel_send_eof(raw_) : 0; };
  if (co_await session_->repeat(step) != 0)
    throw session_->failure("ending the input of a command on " + session_->peer());
}

Task<Ending> Channel::wait_closed() {
  auto self = shared_from_this();
  auto wait = [&] { return raw_ ? libssh2_channel_wait_closed(raw_) : 0; };
  // It refuses to wait before the host has ended its streams; those were read.
  const int code = co_await session_->repeat(wait);
  if (code != 0) throw session_->failure("waiting for a command on " + session_->peer());
  Ending ending;
  if (!raw_) throw Error(Kind::host, "a command on " + session_->peer() + " was given up");
  ending.code = libssh2_channel_get_exit_status(raw_);
  char* signal = nullptr;
  std::size_t size = 0;
  libssh2_channel_get_exit_signal(raw_, &signal, &size, nullptr, nullptr, nullptr, nullptr);
  if (signal) {
    ending.signal.assign(signal, size);
    libssh2_free(session_->raw(), signal);
  }
  co_return ending;
}

Task<Output> Channel::finish(std::string input, std::size_t limit) {
  auto self = shared_from_this();
  Output output;
  std::vector<Task<void>> tasks;
  tasks.push_back(feed(self, std::move(input)));
  tasks.push_back(collect(self, standard_output, &output.out, limit));
  tasks.push_back(collect(self, standard_error, &output.err, limit));
  for (auto& failure : co_await async::all(std::move(tasks)))
    if (failure) std::rethrow_exception(failure);
  output.ending = co_await wait_closed();
  co_return output;
}

void Channel::close() noexcept {
  auto* raw = std::exchange(raw_, nullptr);
  // A session that is over frees its channels itself.
  if (!raw || session_->lost()) return;
  try {
    session_->wake();
    asio::co_spawn(session_->loop(), retire(session_, raw), [](std::exception_ptr) {});
  } catch (...) {  // out of memory: the session frees it at its end
  }
}

std::unique_ptr<Stream> make_stream(std::shared_ptr<Channel> channel, std::string first) {
  return std::make_unique<ChannelStream>(std::move(channel), std::move(first));
}

}  // namespace attest::ssh
