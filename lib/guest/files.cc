#include "lib/guest/files.h"

#include "lib/base/text.h"
#include "lib/guest/words.h"

#include <utility>

namespace attest::guest {

Task<void> wait_for_file(Guest& guest, std::string path, Deadline deadline) {
  Condition condition = FileExists{std::move(path)};
  co_await guest.wait_for(condition, deadline);
}

Task<void> wait_for_open_unix_socket(Guest& guest, std::string path, SocketOptions options,
                                     Deadline deadline) {
  Condition condition = SocketAccepts{std::move(path), options.is_datagram};
  co_await guest.wait_for(condition, deadline);
}

std::string file_probe(const FileExists& file) {
  check(file);
  auto slash = file.path.rfind('/');
  // Everything but the two wildcards of the last part is quoted.
  std::string pattern = base::shell_quote(file.path.substr(0, slash + 1)), plain;
  for (char c : file.path.substr(slash + 1)) {
    if (c != '*' && c != '?') {
      plain += c;
      continue;
    }
    if (!plain.empty()) pattern += base::shell_quote(std::exchange(plain, {}));
    pattern += c;
  }
  if (!plain.empty()) pattern += base::shell_quote(plain);
  return "for f in " + pattern +
         ";do [ ! -e \"$f\" ]||exit 0;done\necho 'it does not exist'\nexit 1\n";
}

std::string socket_probe(const SocketAccepts& socket) {
  check(socket);
  // Columns: number, references, protocol, flags (10000: it listens), type, state, inode, path.
  const std::string entry = socket.datagram ? "*' 0002 '*" : "*' 00010000 000'[15]' '*";
  const std::string what = socket.datagram ? "nobody receives on it" : "nobody accepts on it";
  return "p=" + base::shell_quote(socket.path) +
         "\n[ -e \"$p\" ]||{ echo 'it does not exist';exit 1;}\n"
         "[ -S \"$p\" ]||{ echo 'it is no socket';exit 1;}\n" +
         (socket.datagram ? ""
                          : "if nc -h 2>&1|grep -q -e '-[a-zA-Z]*U';then nc -z -U \"$p\" "
                            "2>/dev/null&&exit 0\necho '" +
                                what + "';exit 1;fi\n") +
         "[ -r /proc/net/unix ]||{ echo 'the guest has no /proc/net/unix';exit 3;}\n"
         "while read -r l;do case $l in " +
         entry + "\" $p\")exit 0;;esac;done </proc/net/unix\necho '" + what + "'\nexit 1\n";
}

}  // namespace attest::guest
