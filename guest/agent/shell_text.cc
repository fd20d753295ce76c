#include "guest/agent/shell_text.h"

namespace attest::agent {
namespace {

// What a user's own root shell has: nixpkgs' backdoor sets the same. A profile may print, read
// and change directory as it likes.
constexpr std::string_view resident = R"sh(export -n _at_S _at_P
[ "$_at_Q" ]||{ [ -r /etc/profile ]&&. /etc/profile >/dev/null 2>&1 3<&-;}
export PAGER=
export -n _at_Q
cd /tmp||cd /
printf '%s\0' "$BASH"
while IFS= read -r _at_i;do printf '%s=%s\0' "$_at_i" "${!_at_i}";done < <(compgen -e)
printf '\0'
_at_F='exec 3<&- >/dev/null;set -m;while ((${#_at_a[@]}));do (eval "$_at_E")& _at_a=("${_at_a[@]:4}");done'
_at_E='set +m
exec </dev/null >/proc/$_at_P/fd/${_at_a[1]} 2>/proc/$_at_P/fd/${_at_a[2]} 8</proc/$_at_P/fd/${_at_a[0]} 9</proc/$_at_P/fd/${_at_a[3]}||exit
echo $BASHPID
read -rN1 -u8 _at_i||exit
. /proc/self/fd/9
exec 8<&- 9<&-
eval "$_at_t"'
while IFS=" " read -ru3 -a _at_a;do (eval "$_at_F");echo;done
)sh";

constexpr std::string_view plain =
    "[ \"$_at_Q\" ] || . /etc/profile >/dev/null 2>&1; export PAGER=; cd /tmp || cd /; "
    "unset _at_Q _at_S _at_P; printf '/bin/sh\\0'; cat /proc/self/environ";

}  // namespace

std::string shell_quoted(std::string_view text) {
  std::string quoted = "'";
  quoted.reserve(text.size() + 2);
  for (char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted += "'";
}

bool needs_own_shell(std::string_view text) {
  for (std::string_view word : {"$$", "${$", "BASH_SUBSHELL", "BASH_EXECUTION_STRING"})
    if (text.find(word) != text.npos) return true;
  return false;
}

std::string strict_text(std::string_view text, bool strict, bool bash) {
  std::string before = !strict ? "" : bash ? "set -euo pipefail; " : "set -eu; ";
  return before.append(text);
}

std::string_view resident_program() { return resident; }
std::string_view plain_environment_program() { return plain; }

bool shell_name(std::string_view name) {
  // The shell's own cannot be set, or mean something to it.
  for (std::string_view own : {"UID", "EUID", "PPID", "SHELLOPTS", "POSIXLY_CORRECT", "IFS", "_"})
    if (name == own) return false;
  if (name.empty() || name.starts_with("BASH") || name.starts_with("_at_")) return false;
  bool first = true;
  for (char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && (first || c < '0' || c > '9')) return false;
    first = false;
  }
  return true;
}

std::string executor_script(std::string_view text, const std::vector<std::string>& env,
                            bool with_input, bool change_directory) {
  std::string script;
  for (std::string_view entry : env) {
    const auto at = entry.find('=');
    script += "export ";
    script.append(entry.substr(0, at + 1)) += shell_quoted(entry.substr(at + 1)) + "\n";
  }
  if (change_directory) script += "cd /tmp\n";
  if (with_input) script += "exec <&8\n";
  // On the text's first line, so that its line numbers are its own.
  std::string whole = "unset -v ${!_at_@} BASH_EXECUTION_STRING;SECONDS=0; ";
  return script + "_at_t=" + shell_quoted(whole.append(text)) + "\n";
}

std::string own_shell_script(std::string_view text) {
  return "exec 3<&-\n_at_t=" +
         shell_quoted("unset -v _at_t BASH_EXECUTION_STRING; " + std::string(text)) + "\n";
}

std::string_view own_shell_program() { return ". /proc/self/fd/3;eval \"$_at_t\""; }

}  // namespace attest::agent
