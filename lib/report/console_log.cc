#include "lib/report/console_log.h"

#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <algorithm>

namespace attest::report {
namespace {
constexpr std::size_t longest_line = 4096;
constexpr std::size_t memory_limit = 1 << 20;
}  // namespace

std::optional<std::string> fatal_line(std::string_view line) {
  auto has = [&](std::string_view part) { return line.find(part) != std::string_view::npos; };
  if (auto at = line.find("Kernel panic - not syncing"); at != std::string_view::npos)
    return "the kernel panicked: '" + std::string(line.substr(at)) + "'";
  // systemd's emergency.service and sulogin, and initramfs-tools' and dracut's shells.
  if (has("You are in emergency mode") || has("Entering emergency mode"))
    return "the guest is in emergency mode";
  if (has("You are in rescue mode")) return "the guest is in rescue mode";
  // Our own initrd (guest/debian), which powers off after this line.
  if (auto at = line.find("attest-initrd: FATAL:"); at != std::string_view::npos)
    return "the initrd gave up: '" + std::string(line.substr(at)) + "'";
  return std::nullopt;
}

ConsoleLog::ConsoleLog(LineSink on_line, LineSink on_fatal)
    : on_line_(std::move(on_line)), on_fatal_(std::move(on_fatal)) {}

void ConsoleLog::write_to(const std::string& path) {
  file_.open(path, std::ios::binary | std::ios::app);
  if (!file_) throw base::sys_error("opening the console log '" + path + "'");
}

void ConsoleLog::feed(std::string_view bytes) {
  if (file_.is_open()) {
    file_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file_.flush();
  }
  while (!bytes.empty()) {
    auto end = bytes.find('\n');
    auto piece = bytes.substr(0, end);
    std::size_t room = longest_line - partial_.size();
    if (piece.size() > room) {
      partial_ += piece.substr(0, room);
      bytes.remove_prefix(room);
      end_line();
      continue;
    }
    partial_ += piece;
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    end_line();
  }
}

void ConsoleLog::finish() {
  if (!partial_.empty()) end_line();
}

void ConsoleLog::end_line() {
  std::string line = base::printable(partial_);
  partial_.clear();
  size_ += line.size() + 1;
  lines_.push_back(line);
  while (size_ > memory_limit) {
    size_ -= lines_.front().size() + 1;
    lines_.pop_front();
  }
  on_line_(line);
  if (auto fate = fatal_line(line)) on_fatal_(*fate);
}

std::string ConsoleLog::text() const { return tail(lines_.size()); }

std::string ConsoleLog::tail(std::size_t n) const {
  std::string all;
  for (auto i = lines_.size() - std::min(n, lines_.size()); i < lines_.size(); ++i)
    all += lines_[i] + "\n";
  return all;
}

}  // namespace attest::report
