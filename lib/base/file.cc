#include "lib/base/file.h"

#include "lib/base/fd.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <system_error>

namespace attest::base {
namespace {

std::optional<std::string> slurp(const std::filesystem::path& path) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::string bytes;
  char buffer[65536];
  for (;;) {
    ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(count));
  }
}

void write_fully(const Fd& file, std::string_view bytes, const std::string& attempt) {
  while (!bytes.empty()) {
    ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw sys_error(attempt);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  auto bytes = slurp(path);
  if (!bytes) throw sys_error("reading '" + path.string() + "'");
  return std::move(*bytes);
}

std::optional<std::string> try_read_file(const std::filesystem::path& path) { return slurp(path); }

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::string attempt = "writing '" + path.string() + "'";
  std::string partial = path.string() + ".XXXXXX";
  Fd file(check(::mkostemp(partial.data(), O_CLOEXEC), attempt));
  try {
    write_fully(file, bytes, attempt);
    check(::fchmod(file.get(), 0644), attempt);
    check(::rename(partial.c_str(), path.c_str()), attempt);
  } catch (...) {
    ::unlink(partial.c_str());
    throw;
  }
}

void write_once(const std::filesystem::path& path, std::string_view bytes) {
  std::string attempt = "writing '" + path.string() + "'";
  Fd file(check(::open(path.c_str(), O_WRONLY | O_CLOEXEC), attempt));
  if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    throw sys_error(attempt);
}

TempDir::TempDir(const std::string& prefix, const std::filesystem::path& parent) {
  std::string name = (parent / (prefix + "XXXXXX")).string();
  if (!::mkdtemp(name.data())) throw sys_error("making a directory in '" + parent.string() + "'");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace attest::base
