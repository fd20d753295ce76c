#include "backends/ssh/connect.h"

#include "backends/ssh/auth.h"
#include "backends/ssh/host_key.h"
#include "lib/async/within.h"
#include "lib/base/text.h"

#include <chrono>
#include <utility>

namespace attest::ssh {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

// A host that is just coming up may swallow a packet or say nothing on an accepted connection.
constexpr auto patience_connecting = 15s, patience_shaking_hands = 30s;
constexpr std::size_t noise_limit = 1 << 20;

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

Task<Outside::Socket> dial(const Target& target, Deadline deadline) {
  const auto& config = target.config;
  auto soon = deadline.earlier(Deadline::after(patience_connecting));
  std::string why;
  try {
    if (!config.proxy_command.empty())
      co_return co_await target.outside->run(expand_proxy(config), soon);
    co_return co_await target.outside->connect(config.host, config.port, soon);
  } catch (const Error& error) {
    if (error.kind() != Kind::host && error.kind() != Kind::timeout) throw;
    why = first_line(error.what());
  }
  throw NotUp{why};
}

// 1 for noise that is no SSH.
Task<int> shake_hands(std::shared_ptr<Session> session) {
  auto step = [&] {
    const int code = libssh2_session_handshake(session->raw(), session->descriptor());
    return code == LIBSSH2_ERROR_EAGAIN && session->received() > noise_limit ? 1 : code;
  };
  co_return co_await session->repeat(step);
}

// What sshd says in plain text before it closes: it has too many connections for the moment.
bool is_busy(const Session& session) {
  return session.first_bytes().starts_with("Exceeded MaxStartups") ||
         session.first_bytes().starts_with("Not allowed at this time");
}

Error no_handshake(Session& session, int code) {
  const auto heard = base::printable(session.first_bytes());
  if (code == 1 || heard.find("SSH-") == heard.npos)
    return Error(Kind::protocol, "what answers at " + session.peer() + " does not speak SSH")
        .attach("it began with", heard)
        .hint("is ssh.port right?");
  auto error = session.failure("shaking hands with " + session.peer());
  if (code == LIBSSH2_ERROR_KEX_FAILURE || code == LIBSSH2_ERROR_METHOD_NONE ||
      code == LIBSSH2_ERROR_METHOD_NOT_SUPPORTED)
    error.hint(std::string("the host and libssh2 ") + libssh2_version(0) +
               " have no algorithms in common; with libssh2 1.10 the host needs an ed25519 or "
               "ecdsa host key (ssh-keygen -A), and aes-ctr with hmac-sha2");
  return error;
}

Task<void> enter(const Target& target, std::shared_ptr<Session> session, Deadline deadline) {
  const auto& config = target.config;
  prefer_known_keys(*session, config);
  session->start(config.keepalive);
  auto soon = deadline.earlier(Deadline::after(patience_shaking_hands));
  const int code = co_await async::within(soon, "shaking hands", shake_hands(session));
  if (code != 0 && is_busy(*session)) throw NotUp{first_line(session->first_bytes())};
  if (code == LIBSSH2_ERROR_BANNER_RECV && session->received() == 0)
    throw NotUp{"it closes the connection at once"};
  if (code != 0) throw no_handshake(*session, code);
  auto noted = check_host_key(*session, config);
  if (!noted.empty() && target.say) target.say(noted);
  co_await async::within(deadline, "logging in to " + session->peer(),
                         log_in(session, config, target.outside, deadline));
}

}  // namespace

std::string peer_name(const SshConfig& config) {
  const bool colons = config.host.find(':') != config.host.npos;
  return config.user + "@" + (colons ? "[" + config.host + "]" : config.host) + ":" +
         std::to_string(config.port);
}

std::string expand_proxy(const SshConfig& config) {
  std::string command;
  const auto& text = config.proxy_command;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      command += text[i];
      continue;
    }
    switch (++i < text.size() ? text[i] : ' ') {
      case '%':
        command += '%';
        break;
      case 'h':
      case 'n':
        command += config.host;
        break;
      case 'p':
        command += std::to_string(config.port);
        break;
      case 'r':
        command += config.user;
        break;
      default:
        throw Error(Kind::usage,
                    "ssh.proxy_command has a '%' without h, n, p, r or another % "
                    "behind it: '" +
                        text + "'");
    }
  }
  return command;
}

Task<std::shared_ptr<Session>> connect(Target target, Deadline deadline) {
  auto socket = co_await dial(target, deadline);
  auto session =
      std::make_shared<Session>(target.loop, std::move(socket), peer_name(target.config));
  if (target.begun) target.begun(session);
  std::exception_ptr failure;
  try {
    co_await enter(target, session, deadline);
    co_return session;
  } catch (...) {
    failure = std::current_exception();
  }
  const bool lost = session->lost();
  const bool silent = session->received() == 0;
  session->drop("given up");
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    if (lost && error.kind() == Kind::host) {
      if (is_busy(*session)) throw NotUp{first_line(session->first_bytes())};
      if (session->received() > 0 && session->first_bytes().find("SSH-") == std::string::npos)
        throw no_handshake(*session, 1);
      throw NotUp{first_line(error.what())};
    }
    if (error.kind() == Kind::timeout && silent) throw NotUp{"it accepts, and says nothing"};
    if (error.kind() == Kind::timeout && !deadline.passed()) throw NotUp{first_line(error.what())};
    throw;
  }
}

}  // namespace attest::ssh
