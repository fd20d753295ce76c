// State files: a line of JSON, then QEMU's stream; and memory files.
#include "lib/base/sys_error.h"
#include "tests/sims/common/guest_vm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

namespace attest::sims {

SavedGuest read_saved(const std::string& state_file) {
  std::ifstream file(state_file, std::ios::binary);
  if (!file) throw base::sys_error("opening the state file '" + state_file + "'");
  std::string line;
  std::getline(file, line);
  auto head = nlohmann::json::parse(line, nullptr, false);
  if (!head.is_object() || !head.contains("attest-sim") || file.eof())
    throw Error(Error::Kind::protocol, "'" + state_file + "' is no state file of a stand-in");
  return {.memory_file = head.at("memory_file"),
          .memory_mb = head.at("memory_mb"),
          .kernel = head.at("kernel"),
          .config = head.at("config"),
          .size = line.size() + 1};
}

void copy_sparse(int from, const std::string& to) {
  struct ::stat found{};
  base::check(::fstat(from, &found), "looking at the guest's memory");
  base::Fd file(base::check(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644),
                            "opening '" + to + "'"));
  base::check(::ftruncate(file.get(), found.st_size), "sizing '" + to + "'");
  constexpr std::size_t piece = 64 << 10;
  std::vector<char> bytes(piece);
  const std::vector<char> zeros(piece);
  for (off_t at = 0; at < found.st_size;) {
    off_t data = ::lseek(from, at, SEEK_DATA);
    if (data < 0) break;  // ENXIO: only a hole is left
    off_t end = ::lseek(from, data, SEEK_HOLE);
    for (at = data; at < end;) {
      auto wanted = static_cast<std::size_t>(std::min<off_t>(end - at, piece));
      ssize_t count = ::pread(from, bytes.data(), wanted, at);
      if (count <= 0) throw base::sys_error("reading the guest's memory");
      auto length = static_cast<std::size_t>(count);
      bool empty = std::equal(bytes.begin(), bytes.begin() + count, zeros.begin());
      if (!empty && ::pwrite(file.get(), bytes.data(), length, at) != count)
        throw base::sys_error("writing '" + to + "'");
      at += count;
    }
  }
}

}  // namespace attest::sims
