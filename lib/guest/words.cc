#include "lib/guest/words.h"

#include "lib/base/text.h"

#include <algorithm>

namespace attest::guest {
namespace {

using Kind = Error::Kind;

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool digit(char c) { return c >= '0' && c <= '9'; }

// Only letters, digits and `extra`, not empty, no option of a program.
bool only(std::string_view text, std::string_view extra) {
  return !text.empty() && text[0] != '-' && std::all_of(text.begin(), text.end(), [&](char c) {
    return letter(c) || digit(c) || extra.find(c) != extra.npos;
  });
}

bool is_variable(std::string_view name) {
  return !name.empty() && !digit(name[0]) && only(name, "_");
}

void check_user(const std::string& user) {
  if (!user.empty() && !only(user, "-_.$"))
    throw Error(Kind::usage, "'" + base::printable(user) + "' is no name of a user");
}

struct Goal {
  std::string operator()(const UnitActive& it) const {
    std::string text = "unit '" + it.unit + "' to become active";
    return it.user.empty() ? text : text + " under user '" + it.user + "'";
  }
  std::string operator()(const PortOpen& it) const {
    std::string text = (it.udp ? "UDP port " : "port ") + std::to_string(it.port);
    if (!it.udp) text += " of " + it.address;
    return text + (it.closed ? " to be closed" : " to be open");
  }
  std::string operator()(const FileExists& it) const {
    return "file '" + base::printable(it.path) + "' to exist";
  }
  std::string operator()(const SocketAccepts& it) const {
    return "unix socket '" + base::printable(it.path) + "' to " +
           (it.datagram ? "take datagrams" : "accept connections");
  }
};

struct Check {
  void operator()(const UnitActive& it) const {
    if (!only(it.unit, ":-_.\\@/"))
      throw Error(Kind::usage, "'" + base::printable(it.unit) + "' is no name of a systemd unit")
          .hint("unit names hold letters, digits and : - _ . \\ @, for example 'nginx.service'");
    check_user(it.user);
  }
  void operator()(const PortOpen& it) const {
    if (it.port < 1 || it.port > 65535)
      throw Error(Kind::usage, "port " + std::to_string(it.port) + " is not between 1 and 65535");
    if (!only(it.address, ".:-_%") && !it.udp)
      throw Error(Kind::usage,
                  "'" + base::printable(it.address) + "' is neither a host name nor an address");
  }
  void operator()(const FileExists& it) const { check_path(it.path); }
  void operator()(const SocketAccepts& it) const { check_path(it.path); }
};

}  // namespace

std::string words(const Command& command) {
  if (!command.label.empty()) return "'" + base::printable(command.label) + "'";
  std::string text = command.argv.empty() ? command.shell : base::shell_join(command.argv);
  auto line = std::string(base::trim(text).substr(0, base::trim(text).find('\n')));
  if (line.size() > 100) line = line.substr(0, 97) + "...";
  return "'" + base::printable(line) + "'";
}

std::string goal(const Condition& condition) { return std::visit(Goal{}, condition); }

void check(const Command& command) {
  if (!command.shell.empty() && !command.argv.empty())
    throw Error(Kind::usage, "a command is either a shell text or an argument vector, not both");
  if (!command.argv.empty() && command.argv[0].empty())
    throw Error(Kind::usage, "the program to run has an empty name");
  auto nul = [](const std::string& text) { return text.find('\0') != text.npos; };
  if (nul(command.shell) || std::any_of(command.argv.begin(), command.argv.end(), nul) ||
      nul(command.cwd))
    throw Error(Kind::usage, "command " + words(command) + " holds a NUL byte")
        .hint("write the bytes into a file first, or print them with printf '\\000'");
  for (auto& [name, value] : command.env) {
    if (!is_variable(name))
      throw Error(Kind::usage, "'" + name + "' is no name for an environment variable");
    if (nul(value))
      throw Error(Kind::usage, "the value of the variable '" + name + "' holds a NUL byte");
  }
  check_user(command.user);
}

void check(const Condition& condition) { std::visit(Check{}, condition); }

void check_path(const std::string& path) {
  if (!path.starts_with('/') || path.find('\0') != path.npos)
    throw Error(Kind::usage, "'" + base::printable(path) + "' is no absolute path of the guest");
}

Error command_late(const Command& command, const std::string& span, const std::string& output,
                   const std::string& error_output) {
  Error error(Kind::timeout, "command " + words(command) + " did not end within " + span);
  error.attach("its stdout so far, last lines", base::last_lines(output, 20));
  error.attach("its stderr so far, last lines", base::last_lines(error_output, 20));
  return error;
}

Error command_too_loud(const Command& command) {
  return Error(Kind::guest, "command " + words(command) + " printed more than 64 MiB")
      .hint("redirect its output into a file in the guest");
}

}  // namespace attest::guest
