#include "lib/report/console_log.h"

#include "lib/base/fatal_line.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace attest::report {
namespace {
constexpr std::size_t longest_line = 4096;
constexpr std::size_t memory_limit = 1 << 20;
constexpr std::size_t cost_of_a_line =
    sizeof(std::string);  // a flood of empty lines is bounded, too
}  // namespace

ConsoleLog::ConsoleLog(LineSink on_line, LineSink on_fatal)
    : on_line_(std::move(on_line)), on_fatal_(std::move(on_fatal)) {}

void ConsoleLog::write_to(const std::string& path) {
  file_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file_) throw base::sys_error("opening the console log '" + path + "'");
  path_ = path;
}

void ConsoleLog::feed(std::string_view bytes) {
  write(bytes);
  while (!bytes.empty()) {
    std::size_t room = longest_line - partial_.size();
    auto end = bytes.substr(0, room + 1).find('\n');
    if (end == std::string_view::npos && bytes.size() <= room) {
      partial_ += bytes;
      return;
    }
    auto piece = bytes.substr(0, std::min(end, room));
    if (partial_.empty()) {
      end_line(piece);  // nothing is copied
    } else {
      auto whole = std::exchange(partial_, {}).append(piece);
      end_line(whole);
    }
    bytes.remove_prefix(end == std::string_view::npos ? room : end + 1);
  }
}

void ConsoleLog::finish() {
  if (!partial_.empty()) end_line(std::exchange(partial_, {}));
}

// One system call for each piece; pieces are as large as what the machine has printed meanwhile.
void ConsoleLog::write(std::string_view bytes) {
  while (file_ && !bytes.empty()) {
    auto count = ::write(file_.get(), bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      std::string why = std::strerror(errno);
      file_.reset();
      remember("attest: '" + path_ + "' ends here, it could not be written: " + why);
    }
  }
}

void ConsoleLog::end_line(std::string_view raw) {
  if (raw.empty() || raw == "\r") return remember({});
  auto fate = base::fatal_line(raw);
  remember(base::printable(raw));
  if (fate) on_fatal_(*fate);
}

void ConsoleLog::remember(std::string line) {
  size_ += line.size() + cost_of_a_line;
  lines_.push_back(std::move(line));
  on_line_(lines_.back());
  while (size_ > memory_limit) {
    size_ -= lines_.front().size() + cost_of_a_line;
    lines_.pop_front();
  }
}

std::string ConsoleLog::text() const { return tail(lines_.size()); }

std::string ConsoleLog::tail(std::size_t n) const {
  std::string all;
  for (auto i = lines_.size() - std::min(n, lines_.size()); i < lines_.size(); ++i)
    all += lines_[i] + "\n";
  return all;
}

std::string ConsoleLog::unfinished() const { return base::printable(partial_); }

}  // namespace attest::report
