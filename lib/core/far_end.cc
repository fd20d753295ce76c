#include "lib/core/far_end.h"

#include "lib/async/within.h"
#include "lib/base/text.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <optional>

namespace attest::core {

const std::string_view by_bash = R"(
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
exec 4<&0
cat <&4 >&3 2>/dev/null & writer=$!
exec 4<&-
cat <&3
kill "$writer" 2>/dev/null
exit 0
)";

namespace {

using Tcp = asio::ip::tcp;

constexpr std::size_t piece = 64 << 10;

// A machine that crashes says nothing more to its peers.
class NetworkEnd final : public FarEnd {
 public:
  NetworkEnd(std::shared_ptr<Running> run, Tcp::socket socket)
      : run_(std::move(run)), socket_(std::move(socket)), buffer_(piece, '\0') {}

  Task<std::string> read() override {
    co_return co_await async::unless(Running::doom(run_), receive());
  }
  Task<void> write(std::string bytes) override {
    co_await async::unless(Running::doom(run_), send(std::move(bytes)));
  }
  Task<void> end_writing() override {
    boost::system::error_code ignored;
    socket_.shutdown(Tcp::socket::shutdown_send, ignored);
    co_return;
  }

 private:
  Task<std::string> receive() {
    auto [failed, count] = co_await socket_.async_read_some(asio::buffer(buffer_),
                                                            asio::as_tuple(asio::use_awaitable));
    if (failed == asio::error::eof) co_return std::string();
    if (failed) throw boost::system::system_error(failed);
    co_return buffer_.substr(0, count);
  }
  Task<void> send(std::string bytes) {
    co_await asio::async_write(socket_, asio::buffer(bytes), asio::use_awaitable);
  }

  std::shared_ptr<Running> run_;
  Tcp::socket socket_;
  std::string buffer_;
};

class ProcessEnd final : public FarEnd {
 public:
  ProcessEnd(std::shared_ptr<Running> run, std::unique_ptr<guest::Process> process)
      : run_(std::move(run)), process_(std::move(process)) {}

  Task<std::string> read() override {
    for (;;) {
      auto chunk = co_await async::unless(Running::doom(run_), process_->read());
      if (!chunk) break;
      if (!chunk->error_output) {
        answered_ = true;
        co_return std::move(chunk->bytes);
      }
      if (complaint_.size() < piece) complaint_ += chunk->bytes;
    }
    if (process_->exit_code() != 0 && !answered_)
      throw Error(Error::Kind::guest, base::printable(base::trim(complaint_)));
    co_return std::string();
  }
  Task<void> write(std::string bytes) override {
    co_await async::unless(Running::doom(run_), process_->write(std::move(bytes)));
  }
  Task<void> end_writing() override { return process_->close_input(); }

 private:
  std::shared_ptr<Running> run_;  // ends after the process
  std::unique_ptr<guest::Process> process_;
  std::string complaint_;
  bool answered_ = false;
};

// perl can end one half of a connection, which bash cannot: its /dev/tcp is one descriptor. The
// server's end is the end of all, because a Process has no other way to say it.
constexpr std::string_view by_perl = R"(
use strict; use Socket; use IO::Handle;
my $port = shift; $SIG{PIPE} = 'IGNORE';
sub pump { my ($from, $to) = @_; my $bytes;
  while (1) {
    my $count = sysread($from, $bytes, 65536);
    next if !defined $count && $!{EINTR};
    last if !$count;
    for (my $done = 0; $done < $count;) {
      my $put = syswrite($to, $bytes, $count - $done, $done);
      next if !defined $put && $!{EINTR};
      return if !defined $put;
      $done += $put;
    } } }
my $far;
socket($far, PF_INET, SOCK_STREAM, 0) && connect($far, sockaddr_in($port, INADDR_LOOPBACK))
  or die "port $port of its 127.0.0.1: $!\n";
my $reader = fork() // die "fork: $!\n";
if ($reader == 0) { pump($far, \*STDOUT); exit 0; }
my $writer = fork() // die "fork: $!\n";
if ($writer == 0) { close STDOUT; pump(\*STDIN, $far); shutdown($far, 1); exit 0; }
close STDIN; waitpid($reader, 0); kill 'KILL', $writer; waitpid($writer, 0); exit 0;
)";

guest::Command join_to(int port) {
  auto number = std::to_string(port);
  std::string text =
      "if command -v perl >/dev/null 2>&1; then exec perl -e \"$1\" \"$3\"; fi\n"
      "if command -v bash >/dev/null 2>&1; then exec bash -c \"$2\" bash \"$3\"; fi\n"
      "echo 'there is neither perl nor bash to forward a port with' >&2; exit 1\n";
  guest::Command command;
  command.argv = {"sh", "-c", text, "sh", std::string(by_perl), std::string(by_bash), number};
  command.label = "connecting to port " + number;
  return command;
}

}  // namespace

Task<std::unique_ptr<FarEnd>> reach_by_network(std::shared_ptr<Running> run, std::string ip,
                                               int port, Deadline deadline) {
  Tcp::socket socket(co_await asio::this_coro::executor);
  Tcp::endpoint there(asio::ip::make_address(ip), static_cast<std::uint16_t>(port));
  std::string step = "connecting to " + ip + " port " + std::to_string(port);
  std::optional<std::string> refused;
  try {
    co_await async::within(deadline, step, socket.async_connect(there, asio::use_awaitable));
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) throw;
    refused = e.code().message();
  }
  if (refused) throw Error(Error::Kind::guest, step + ": " + *refused);
  co_return std::make_unique<NetworkEnd>(std::move(run), std::move(socket));
}

Task<std::unique_ptr<FarEnd>> reach_from_inside(std::shared_ptr<Running> run, int port,
                                                Deadline deadline) {
  auto command = join_to(port);
  auto spawning = run->guest->spawn(std::move(command), deadline);
  auto process = co_await async::unless(Running::doom(run), std::move(spawning));
  co_return std::make_unique<ProcessEnd>(run, std::move(process));
}

}  // namespace attest::core
