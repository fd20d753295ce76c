// The serial console of one machine: bytes in, whole safe lines out, a bounded memory of them,
// and an eye on the lines that mean the machine is lost.
#pragma once
#include <cstddef>
#include <deque>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace attest::report {

/// What a console line says about the machine's fate, in words: "the kernel panicked: ...", "the
/// guest is in emergency mode". nullopt for ordinary lines. Pure.
std::optional<std::string> fatal_line(std::string_view line);

/// Collects console output. Loop thread only; memory stays below about 1 MiB whatever comes.
class ConsoleLog {
 public:
  using LineSink = std::function<void(std::string_view line)>;

  /// `on_line` gets every finished line, made printable; `on_fatal` the words of fatal_line().
  ConsoleLog(LineSink on_line, LineSink on_fatal);

  /// Also writes every byte, unchanged, to `path`. Throws Error{host} if it cannot be opened.
  void write_to(const std::string& path);
  /// Takes the next bytes, in pieces of any size. A line is cut after 4 KiB.
  void feed(std::string_view bytes);
  /// Ends an unfinished line: the machine is gone.
  void finish();

  /// All lines that are still remembered.
  std::string text() const;
  /// The last `n` of them.
  std::string tail(std::size_t n) const;

 private:
  void end_line();

  LineSink on_line_, on_fatal_;
  std::ofstream file_;
  std::string partial_;
  std::deque<std::string> lines_;
  std::size_t size_ = 0;
};

}  // namespace attest::report
