// The serial console of one machine: bytes in, whole safe lines out, a bounded memory of them,
// and an eye on the lines that mean the machine is lost.
#pragma once
#include "lib/base/fd.h"

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

namespace attest::report {

/// Collects console output. Loop thread only; memory stays below about 2 MiB whatever comes.
class ConsoleLog {
 public:
  using LineSink = std::function<void(std::string_view line)>;

  /// `on_line` gets every finished line, made printable; `on_fatal` the words of
  /// base::fatal_line().
  ConsoleLog(LineSink on_line, LineSink on_fatal);

  /// Also appends every byte, unchanged, to `path`, at once. Throws Error{host} if it cannot be
  /// opened. A write that fails later is told as a line, once.
  void write_to(const std::string& path);
  /// Takes the next bytes, in pieces of any size. A line is cut after 4 KiB.
  void feed(std::string_view bytes);
  /// Ends an unfinished line: the machine is gone.
  void finish();

  /// All lines that are still remembered.
  std::string text() const;
  /// The last `n` of them.
  std::string tail(std::size_t n) const;
  const std::deque<std::string>& lines() const noexcept { return lines_; }
  /// What came after the last line end, made printable: a prompt, perhaps.
  std::string unfinished() const;

 private:
  void write(std::string_view bytes);
  void end_line(std::string_view raw);
  void remember(std::string line);

  LineSink on_line_, on_fatal_;
  base::Fd file_;
  std::string path_;
  std::string partial_;
  std::deque<std::string> lines_;
  std::size_t size_ = 0;
};

}  // namespace attest::report
