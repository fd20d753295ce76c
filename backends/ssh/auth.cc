#include "backends/ssh/auth.h"

#include "backends/ssh/agent_keys.h"
#include "backends/ssh/fingerprint.h"
#include "backends/ssh/key_file.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace attest::ssh {
namespace {

using Kind = Error::Kind;

bool rsa_works() { return libssh2_version(0x010b00) != nullptr; }

std::string password_of(const SshConfig& config) {
  auto text = base::read_file(config.password_file);
  text.erase(std::min(text.find('\n'), text.size()));
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

// Asked by libssh2 for the answers to a host's questions; it frees what is given.
// NOLINTNEXTLINE(readability-function-size): libssh2 says how many parameters it has.
void answer(const char*, int, const char*, int, int count,
            const LIBSSH2_USERAUTH_KBDINT_PROMPT* prompts,
            LIBSSH2_USERAUTH_KBDINT_RESPONSE* answers, void** abstract) {
  auto& password = static_cast<Session*>(*abstract)->password;
  for (int i = 0; i < count; ++i) {
    // An echoed question is for a name or a code, which we do not have.
    const auto& text = prompts[i].echo ? std::string() : password;
    answers[i].text = static_cast<char*>(std::malloc(text.size() + 1));
    if (!answers[i].text) continue;
    std::memcpy(answers[i].text, text.c_str(), text.size() + 1);
    answers[i].length = static_cast<unsigned>(text.size());
  }
}

// A signature that is being made: libssh2 asks again until it is there.
struct Signing {
  std::string wanted;
  std::optional<std::string> made;
  bool refused = false;
};

int sign(LIBSSH2_SESSION*, unsigned char** signature, size_t* size, const unsigned char* data,
         size_t data_size, void** abstract) {
  auto& signing = *static_cast<Signing*>(*abstract);
  if (signing.refused) return -1;
  if (!signing.made) {
    signing.wanted.assign(reinterpret_cast<const char*>(data), data_size);
    return LIBSSH2_ERROR_EAGAIN;
  }
  *signature = static_cast<unsigned char*>(std::malloc(signing.made->size()));
  if (!*signature) return LIBSSH2_ERROR_ALLOC;
  std::memcpy(*signature, signing.made->data(), signing.made->size());
  *size = signing.made->size();
  return 0;
}

// One login under way: the session, and the story for the error.
struct Login {
  std::shared_ptr<Session> session;
  SshConfig config;
  std::string offered;
  std::vector<std::string> tried;
  bool refused = false;  ///< one of them by the host; the others it was never asked

  bool offers(std::string_view method) const {
    for (auto& one : base::split(offered, ','))
      if (one == method) return true;
    return false;
  }
  // True if we are in. Throws what is no refusal.
  bool judge(int code, const std::string& what) {
    if (code == 0) return true;
    if (code == LIBSSH2_ERROR_OUT_OF_BOUNDARY)
      throw Error(Kind::unsupported,
                  session->peer() +
                      " sends a packet of more than 40000 bytes, which libssh2 does "
                      "not take: its login banner, most likely")
          .hint("shorten the file that 'Banner' names in the host's sshd_config");
    std::string reason;
    if (code == LIBSSH2_ERROR_AUTHENTICATION_FAILED || code == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) {
      reason = "refused";
      refused = true;
    } else {
      reason = session->failure("").what();
      reason.erase(0, 2);
    }
    tried.push_back(what + ": " + reason);
    return false;
  }
};

Task<bool> try_key_file(Login& login) {
  const auto& config = login.config;
  const std::string what = "the key file '" + config.key_file + "'";
  auto raw = login.session->raw();
  auto step = [&] {
    return libssh2_userauth_publickey_fromfile_ex(raw, config.user.data(),
                                                  static_cast<unsigned>(config.user.size()),
                                                  nullptr, config.key_file.c_str(), nullptr);
  };
  const int code = co_await login.session->repeat(step);
  co_return login.judge(code, what);
}

Task<bool> try_agent_key(Login& login, AgentKeys& agent, const AgentKeys::Key& key) {
  const auto& user = login.config.user;
  auto raw = login.session->raw();
  Signing signing;
  void* abstract = &signing;
  // libssh2 1.10 takes the user as C text, and the key as bytes.
  auto step = [&] {
    const int code = libssh2_userauth_publickey(
        raw, user.c_str(), reinterpret_cast<const unsigned char*>(key.blob.data()), key.blob.size(),
        sign, &abstract);
    return code == LIBSSH2_ERROR_EAGAIN && !signing.wanted.empty() && !signing.made ? 1 : code;
  };
  const auto what = "the ssh-agent's key '" + key.comment + "' (" + key_type(key.blob) + " " +
                    fingerprint(key.blob) + ")";
  int code = co_await login.session->repeat(step);
  if (code == 1) {
    std::string refusal;
    try {
      signing.made = co_await agent.sign(key.blob, signing.wanted);
    } catch (const Error& error) {  // a key that asks its owner, or a token that is not there
      refusal = error.what();
      signing.refused = true;
    }
    // Also then: libssh2 has to leave the middle of this key before the next one.
    code = co_await login.session->repeat(step);
    if (signing.refused) login.tried.push_back(what + ": " + refusal);
    if (signing.refused) co_return false;
  }
  co_return login.judge(code, what);
}

Task<bool> try_agent(Login& login, std::shared_ptr<Outside> outside, Deadline deadline) {
  std::exception_ptr failure;
  try {
    AgentKeys agent(co_await outside->ssh_agent(deadline));
    auto keys = co_await agent.list();
    if (keys.empty()) login.tried.push_back("the ssh-agent: it has no keys");
    for (auto& key : keys) {
      if (key_type(key.blob) == "ssh-rsa" && !rsa_works()) {
        login.tried.push_back("the ssh-agent's key '" + key.comment +
                              "': " + "an RSA key, which libssh2 1.10 cannot use");
        continue;
      }
      if (co_await try_agent_key(login, agent, key)) co_return true;
    }
  } catch (const Error& error) {
    if (login.session->lost() || error.kind() == Kind::unsupported) throw;
    login.tried.push_back(std::string("the ssh-agent: ") + error.what());
  }
  co_return false;
}

Task<bool> try_password(Login& login) {
  auto session = login.session;
  const auto& user = login.config.user;
  const auto size = static_cast<unsigned>(user.size());
  const std::string what = "the password from '" + login.config.password_file + "'";
  session->password = password_of(login.config);
  if (login.offers("password")) {
    auto step = [&] {
      return libssh2_userauth_password_ex(session->raw(), user.data(), size,
                                          session->password.data(),
                                          static_cast<unsigned>(session->password.size()), nullptr);
    };
    const int code = co_await session->repeat(step);
    if (login.judge(code, what)) co_return true;
  }
  if (login.offers("keyboard-interactive")) {
    auto step = [&] {
      return libssh2_userauth_keyboard_interactive_ex(session->raw(), user.data(), size, answer);
    };
    const int code = co_await session->repeat(step);
    if (login.judge(code, what + ", as an answer to the host's question")) co_return true;
  }
  if (!login.offers("password") && !login.offers("keyboard-interactive"))
    login.tried.push_back(what + ": the host takes none");
  co_return false;
}

// False if the host wants nothing at all: we are in.
Task<bool> ask_methods(Login& login) {
  auto raw = login.session->raw();
  const auto& user = login.config.user;
  const char* list = nullptr;
  auto step = [&] {
    list = libssh2_userauth_list(raw, user.data(), static_cast<unsigned>(user.size()));
    if (list || libssh2_userauth_authenticated(raw)) return 0;
    return libssh2_session_last_errno(raw);
  };
  const int code = co_await login.session->repeat(step);
  if (list) login.offered = list;
  if (code != 0 && !login.judge(code, "asking for the ways to log in"))
    throw Error(Kind::host, "logging in to " + login.session->peer() + ": " + login.tried.back());
  co_return list != nullptr;
}

Task<bool> try_all(Login& login, std::shared_ptr<Outside> outside, Deadline deadline) {
  const auto& config = login.config;
  if (!co_await ask_methods(login)) co_return true;
  const bool keys = login.offers("publickey");
  if (!config.key_file.empty()) {
    if (!keys)
      login.tried.push_back("the key file '" + config.key_file + "': the host takes no keys");
    else if (co_await try_key_file(login))
      co_return true;
  }
  if (config.ssh_agent) {
    if (!keys)
      login.tried.push_back("the ssh-agent: the host takes no keys");
    else if (co_await try_agent(login, outside, deadline))
      co_return true;
  }
  if (!config.password_file.empty() && co_await try_password(login)) co_return true;
  co_return false;
}

}  // namespace

void check_credentials(const SshConfig& config) {
  if (!config.key_file.empty()) {
    auto objection = objection_to_key(base::read_file(config.key_file), rsa_works());
    if (!objection.empty())
      throw Error(Kind::usage,
                  "the key file '" + config.key_file + "' cannot be used: " + objection);
  }
  if (!config.password_file.empty()) password_of(config);
  if (config.key_file.empty() && config.password_file.empty() && !config.ssh_agent)
    throw Error(Kind::usage, "there is no way to log in to '" + config.host + "'")
        .hint("set one or more of ssh.key_file, ssh.ssh_agent and ssh.password_file");
}

Task<void> log_in(std::shared_ptr<Session> session, SshConfig config,
                  std::shared_ptr<Outside> outside, Deadline deadline) {
  Login login{.session = session, .config = std::move(config), .offered = {}, .tried = {}};
  bool in = false;
  try {
    in = co_await try_all(login, std::move(outside), deadline);
  } catch (const Error&) {
    // A host that gives a reason has decided ("Too many authentication failures"), and so has one
    // that has refused something: trying that again and again would lock the user out. One that
    // just closes may be going down, which the caller finds out.
    if (!session->lost() || (session->reason().empty() && !login.refused)) throw;
    auto reason = base::printable(session->reason());
    login.tried.push_back("then the host ended the connection" +
                          (reason.empty() ? "" : ": '" + reason + "'"));
  }
  session->password.clear();
  if (in) co_return;
  throw Error(Kind::usage, session->peer() + " does not let us in")
      .attach("tried", base::join(login.tried, "\n"))
      .attach("the host offers", login.offered.empty() ? "nothing that it has told" : login.offered)
      .hint("try it by hand: ssh -v -p " + std::to_string(login.config.port) + " " +
            login.config.user + "@" + login.config.host);
}

}  // namespace attest::ssh
