#include "backends/ssh/ssh.h"

#include "backends/ssh/auth.h"
#include "backends/ssh/bootstrap.h"
#include "backends/ssh/connect.h"
#include "backends/ssh/files.h"
#include "lib/async/within.h"
#include "lib/base/text.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>
#include <vector>

namespace attest::ssh {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

constexpr std::chrono::milliseconds first_pause = 100ms, longest_pause = 2s;
constexpr auto patience_with_the_agent = 2s;  // to end its commands and itself
// Core cuts boot() at the same deadline, and knows less about the reason.
constexpr auto margin = 200ms;

// From boot() to the connection's end.
struct Life {
  explicit Life(asio::any_io_executor loop) : over(loop) {}
  void end(Gone how) {
    if (over.is_set()) return;
    gone = std::move(how);
    over.set();
  }
  async::Event over;
  Gone gone;
  bool leaving = false;  ///< shutdown() has begun
};

// Reads what comes on stderr, and notes how the connection or what serves on it ends.
Task<void> watch(std::shared_ptr<Life> life, std::shared_ptr<Channel> channel, std::string what,
                 std::function<void(std::string_view)> console, bool may_go) {
  const auto& session = channel->session();
  Gone gone;
  try {
    std::vector<char> buffer(16 << 10);
    while (auto count = co_await channel->read(Channel::standard_error, buffer))
      if (console) console({buffer.data(), count});
    auto ending = co_await channel->wait_closed();
    gone.cause = what + " on " + session->peer() + " " + ending.words();
  } catch (const Error& error) {
    gone.cause = error.what();
  }
  if (session->lost()) gone.cause = session->obituary();
  // A host that may be switched off takes the agent and the connection along.
  gone.orderly = may_go && (!session->lost() || session->closed_by_host());
  if (life->leaving && !session->lost())
    gone = {true, "its connection was closed"};  // shutdown() says goodbye
  else
    session->drop(gone.cause);
  life->end(std::move(gone));
}

// What another shell says on stderr concerns nobody; unread it would stop the shell.
Task<void> drain_errors(std::shared_ptr<Channel> channel) {
  std::vector<char> buffer(16 << 10);
  while (co_await channel->read(Channel::standard_error, buffer) != 0) {
  }
}

class Ssh final : public Backend, private FileTransfer, private StreamOpener {
 public:
  explicit Ssh(BackendContext context) : context_(std::move(context)), pause_(context_.loop) {}
  ~Ssh() override { kill(); }

  std::string_view name() const override { return "ssh"; }
  bool has_console() const override { return false; }
  PowerControl power_control() const override {
    return options().allow_power ? PowerControl::guest : PowerControl::nobody;
  }

  FileTransfer* file_transfer() override { return this; }
  StreamOpener* stream_opener() override { return this; }
  Task<std::unique_ptr<Stream>> open_shell(Deadline deadline) override {
    auto session = session_;
    if (!session || session->lost())
      throw Error(Kind::host, "there is no connection to " + peer_name(options()));
    auto served = co_await async::within(deadline, "starting a shell on " + session->peer(),
                                         serve(session, std::string_view()));
    if (served.stopping) throw Error(Kind::host, session->peer() + " is shutting down");
    auto shell = make_stream(served.channel, std::move(served.first));
    asio::co_spawn(context_.loop, drain_errors(served.channel), [](std::exception_ptr) {});
    co_return shell;
  }
  Task<void> put(std::string path, std::string bytes, unsigned mode, Deadline deadline) override {
    auto files = transfer();
    co_await files->put(std::move(path), std::move(bytes), mode, deadline);
  }
  Task<std::string> get(std::string path, Deadline deadline) override {
    auto files = transfer();
    co_return co_await files->get(std::move(path), deadline);
  }

  Task<std::unique_ptr<Stream>> boot(Deadline deadline) override {
    kill();
    if (!context_.outside)
      throw Error(Kind::host,
                  "there is no way to the host's network for machine '" + context_.machine + "'")
          .hint("a driver that was made by hand needs DriverSetup::outside");
    check_credentials(options());
    // Nothing is left of an attempt that fails, or that is cut off.
    struct Undo {
      Ssh* self;
      ~Undo() {
        if (self) self->kill();
      }
    } undo{this};
    const auto attempts = ++boots_;
    auto life = life_ = std::make_shared<Life>(context_.loop);
    auto last_call = Deadline::after(deadline.left() -
                                     std::min<Deadline::Clock::duration>(deadline.left(), margin));
    auto pause = first_pause;
    for (;;) {
      std::string why;
      try {
        auto stream = co_await attempt(life, last_call);
        undo.self = nullptr;
        co_return stream;
      } catch (const NotUp& not_up) {
        why = not_up.why;
      }
      if (boots_ != attempts) throw Error(Kind::host, "it was given up while it was connecting");
      tell("waiting for " + peer_name(options()) + ": " + why);
      if (last_call.left() <= pause)
        throw Error(Kind::timeout, peer_name(options()) + " could not be reached: " + why);
      pause_.expires_after(pause);
      co_await pause_.async_wait(asio::as_tuple(asio::use_awaitable));
      if (boots_ != attempts) throw Error(Kind::host, "it was given up while it was connecting");
      pause = std::min(pause * 2, longest_pause);
    }
  }

  Task<void> shutdown(Deadline deadline) override {
    auto life = life_;
    auto session = session_;
    if (!session || session->lost()) co_return;
    // The guest has been asked before, in vain, and attest has no other switch.
    if (options().allow_power)
      throw Error(Kind::guest, peer_name(options()) + " could not be told to switch itself off");
    tell(peer_name(options()) + " stays up: only the connection ends (ssh.allow_power is off)");
    life->leaving = true;
    if (channel_) {
      try {
        co_await channel_->send_eof();
        co_await async::within(deadline.earlier(Deadline::after(patience_with_the_agent)),
                               "waiting for the agent's end", over(life));
      } catch (const Error&) {  // it goes with the connection then
      }
    }
    life->end({true, "its connection was closed"});
    co_await session->disconnect(deadline);
  }

  void kill() noexcept override {
    ++boots_;
    pause_.cancel();
    try {
      if (life_) life_->end({false, "its connection was dropped"});
    } catch (...) {  // out of memory
    }
    if (session_) session_->drop("it was dropped by attest");
    session_.reset();
    channel_.reset();
    files_.reset();
  }

  Task<Gone> wait_gone(Deadline deadline) override {
    auto life = life_;
    if (!life) co_return Gone{true, "it was not started"};
    co_await async::within(deadline, "waiting for the connection to end", over(life));
    co_return life->gone;
  }

 private:
  const SshConfig& options() const { return context_.config.ssh; }

  std::shared_ptr<Files> transfer() const {
    if (!files_)
      throw Error(Kind::host, "there is no connection to " + peer_name(options()) + " for files");
    return files_;
  }

  // Hosts have their own names and addresses; of the seed only the config's files are theirs.
  Task<void> write_files(std::shared_ptr<Files> files, Deadline deadline) {
    for (auto& seed : context_.seed)
      for (auto& file : context_.config.files)
        if (file.to == seed.path) {
          co_await files->put(seed.path, seed.content, seed.mode, deadline);
          break;
        }
  }

  static Task<void> over(std::shared_ptr<Life> life) { co_await life->over.wait(); }

  Task<std::unique_ptr<Stream>> attempt(std::shared_ptr<Life> life, Deadline deadline) {
    Target target{context_.loop, options(), context_.outside, context_.say,
                  [this, boot = boots_](std::shared_ptr<Session> session) {
                    // kill() may have come while there was none yet.
                    if (boots_ != boot) session->drop("it was dropped by attest");
                    session_ = std::move(session);
                  }};
    auto session = co_await connect(std::move(target), deadline);
    auto files = std::make_shared<Files>(session);
    std::exception_ptr failure;
    Served served;
    const auto agent = options().agent ? context_.agent : std::string_view();
    try {
      served = co_await async::within(deadline, "starting what serves on " + session->peer(),
                                      serve(session, agent));
      if (!served.stopping) co_await write_files(files, deadline);
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure && session->lost()) throw NotUp{session->obituary()};
    if (failure) session->drop("given up");
    if (failure) std::rethrow_exception(failure);
    if (served.stopping) {
      session->drop("it is shutting down");
      throw NotUp{"it is shutting down"};
    }
    if (!options().agent)
      tell("commands go over a shell, slower: ssh.agent is off");
    else if (!served.notice.empty())
      tell(served.notice);
    channel_ = served.channel;
    files_ = files;
    asio::co_spawn(context_.loop,
                   watch(life, channel_, served.agent ? "attest-agent" : "the shell",
                         context_.console, options().allow_power),
                   [](std::exception_ptr) {});
    co_return make_stream(channel_, std::move(served.first));
  }

  // Each sentence once.
  void tell(const std::string& text) {
    if (context_.say && told_.insert(text).second) context_.say(text);
  }

  BackendContext context_;
  asio::steady_timer pause_;
  std::shared_ptr<Session> session_;
  std::shared_ptr<Channel> channel_;
  std::shared_ptr<Files> files_;
  std::shared_ptr<Life> life_;
  unsigned boots_ = 0;  ///< changes when an attempt under way is to be given up
  std::set<std::string> told_;
};

}  // namespace

std::unique_ptr<Backend> make_ssh(BackendContext context) {
  check_config(context.machine, context.config);
  return std::make_unique<Ssh>(std::move(context));
}

BackendEntry ssh_backend() {
  BackendEntry entry;
  entry.make = make_ssh;
  entry.missing = [](const MachineConfig& config) -> std::optional<Missing> {
    if (!config.ssh.host.empty()) return std::nullopt;
    return Missing{"ssh",
                   "no host is given for SSH: set machines.<name>.ssh.host to one that is up"};
  };
  entry.wiring = [](const MachineConfig&) { return Wiring::none; };
  entry.describe = [](const MachineConfig&) { return std::string("ssh"); };
  return entry;
}

}  // namespace attest::ssh
