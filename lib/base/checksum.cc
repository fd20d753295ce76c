#include "lib/base/checksum.h"

#include "lib/base/fd.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <xxhash.h>

namespace attest::base {
namespace {

constexpr std::size_t block_size = 128 << 10;

struct FreeState {
  void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
};

bool is_zero(const char* bytes, std::size_t count) {
  return bytes[0] == 0 && std::memcmp(bytes, bytes + 1, count - 1) == 0;
}

std::string words(XXH128_hash_t hash) {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx",
                static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text.data();
}

// The next byte at or behind `from` that is no hole; the size at the end.
off_t next_data(const Fd& file, off_t from, off_t size, const std::string& attempt) {
  off_t found = ::lseek(file.get(), from, SEEK_DATA);
  if (found >= 0) return found;
  if (errno == ENXIO) return size;
  if (errno == EINVAL) return from;  // a file system that knows no holes
  throw sys_error(attempt);
}

// Blocks stand at multiples of their size, so that the same content is hashed in the same pieces.
// Those of zeros are left out; each of the others goes in behind its place.
FileIdentity read_whole(const Fd& file, off_t size, const std::string& attempt) {
  std::unique_ptr<XXH3_state_t, FreeState> state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  std::vector<char> block(block_size);
  off_t at = 0;
  while ((at = next_data(file, at, size, attempt)) < size) {
    at -= at % static_cast<off_t>(block_size);
    std::size_t have = 0;
    while (have < block.size()) {
      ssize_t count = ::pread(file.get(), block.data() + have, block.size() - have,
                              at + static_cast<off_t>(have));
      if (count < 0) throw sys_error(attempt);
      if (count == 0) break;
      have += static_cast<std::size_t>(count);
    }
    if (have == 0) break;
    if (!is_zero(block.data(), have)) {
      std::uint64_t place = static_cast<std::uint64_t>(at);
      XXH3_128bits_update(state.get(), &place, sizeof place);
      XXH3_128bits_update(state.get(), block.data(), have);
    }
    at += static_cast<off_t>(block_size);
  }
  return {static_cast<std::uint64_t>(size), words(XXH3_128bits_digest(state.get()))};
}

// What tells that a file has not been touched since it was read.
struct Seen {
  std::uint64_t device = 0, inode = 0;
  std::int64_t size = 0, changed_s = 0, changed_ns = 0, written_s = 0, written_ns = 0;
  auto operator<=>(const Seen&) const = default;
};

// A file that was written a moment ago may be written again within the same tick of its clock: the
// kernel's tick on most file systems, up to 2 s on those that keep no fractions of a second.
bool is_fresh(const timespec& changed) {
  using namespace std::chrono;
  auto when = seconds(changed.tv_sec) + nanoseconds(changed.tv_nsec);
  auto tick = changed.tv_nsec % 1'000'000 != 0 ? nanoseconds(50ms) : nanoseconds(2s);
  return system_clock::now().time_since_epoch() - when < tick;
}

}  // namespace

std::string checksum(std::string_view bytes) {
  return words(XXH3_128bits(bytes.data(), bytes.size()));
}

FileIdentity identify(const std::filesystem::path& path) {
  std::string attempt = "reading '" + path.string() + "'";
  Fd file(check(::open(path.c_str(), O_RDONLY | O_CLOEXEC), attempt));
  struct stat status{};
  check(::fstat(file.get(), &status), attempt);
  if (!S_ISREG(status.st_mode)) {
    errno = EINVAL;
    throw sys_error(attempt);
  }
  Seen seen{status.st_dev,         status.st_ino,          status.st_size,
            status.st_ctim.tv_sec, status.st_ctim.tv_nsec, status.st_mtim.tv_sec,
            status.st_mtim.tv_nsec};
  static std::mutex mutex;
  static std::map<Seen, FileIdentity> known;
  {
    std::lock_guard lock(mutex);
    if (auto found = known.find(seen); found != known.end()) return found->second;
  }
  auto identity = read_whole(file, status.st_size, attempt);
  if (is_fresh(status.st_ctim)) return identity;
  std::lock_guard lock(mutex);
  known.emplace(seen, identity);
  return identity;
}

}  // namespace attest::base
