#include "lib/base/text.h"

#include "lib/base/sys_error.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>

namespace attest::base {
namespace {

constexpr std::string_view blanks = " \t\r\n\v\f";

// Insertions, deletions, replacements and swaps of neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(above, row);
  }
  return above.back();
}

// The length of the well-formed UTF-8 sequence at the front of `text`; 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::size_t length = byte(0) < 0x80   ? 1
                       : byte(0) < 0xC2 ? 0
                       : byte(0) < 0xE0 ? 2
                       : byte(0) < 0xF0 ? 3
                       : byte(0) < 0xF5 ? 4
                                        : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  if (length == 3 && ((byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xED && byte(1) > 0x9F)))
    return 0;
  if (length == 4 && ((byte(0) == 0xF0 && byte(1) < 0x90) || (byte(0) == 0xF4 && byte(1) > 0x8F)))
    return 0;
  return length;
}

// How many bytes the escape sequence at the front of `text` (after ESC) takes, ESC included.
std::size_t escape_length(std::string_view text) {
  if (text.size() < 2) return text.size();
  if (text[1] == '[') {  // CSI: parameters, then one final byte
    std::size_t i = 2;
    while (i < text.size() && (text[i] < 0x40 || text[i] > 0x7E)) ++i;
    return std::min(i + 1, text.size());
  }
  if (text[1] == ']' || text[1] == 'P') {  // OSC, DCS: up to BEL or ESC backslash
    for (std::size_t i = 2; i < text.size(); ++i) {
      if (text[i] == '\a') return i + 1;
      if (text[i] == '\033') return std::min(i + 2, text.size());
    }
    return text.size();
  }
  return text[1] == '(' || text[1] == ')' ? std::min<std::size_t>(3, text.size()) : 2;
}

}  // namespace

std::vector<std::string> split(std::string_view text, char sep) {
  std::vector<std::string> parts;
  for (;;) {
    auto end = text.find(sep);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view sep) {
  std::string all;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i) all += sep;
    all += parts[i];
  }
  return all;
}

std::string_view trim(std::string_view text) {
  auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string shell_quote(std::string_view text) {
  std::string quoted = "'";
  for (char c : text) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  }
  return quoted + "'";
}

std::string shell_join(const std::vector<std::string>& words) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%^";
  std::string line;
  for (auto& word : words) {
    if (!line.empty()) line += ' ';
    bool safe = !word.empty() && word.find_first_not_of(plain) == std::string::npos;
    line += safe ? word : shell_quote(word);
  }
  return line;
}

std::string dedent(std::string_view text) {
  if (text.find('\n') == std::string_view::npos) return std::string(text);
  auto lines = split(text, '\n');
  if (trim(lines.front()).empty()) lines.erase(lines.begin());
  if (!lines.empty() && trim(lines.back()).empty()) lines.pop_back();
  // The indentation that all lines share, to the byte: tabs and blanks are not mixed up.
  std::string_view common;
  bool first = true;
  for (auto& line : lines) {
    if (trim(line).empty()) continue;
    std::string_view indent = std::string_view(line).substr(0, line.find_first_not_of(" \t"));
    if (std::exchange(first, false)) {
      common = indent;
      continue;
    }
    std::size_t same = 0;
    while (same < std::min(common.size(), indent.size()) && common[same] == indent[same]) ++same;
    common = common.substr(0, same);
  }
  std::size_t width = common.size();
  for (auto& line : lines) line.erase(0, std::min(width, line.find_first_not_of(" \t")));
  return join(lines, "\n");
}

std::string last_lines(std::string_view text, std::size_t n) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  std::size_t start = text.size();
  for (std::size_t seen = 0; start > 0; --start)
    if (text[start - 1] == '\n' && ++seen == n) break;
  return std::string(text.substr(start));
}

std::string printable(std::string_view text) {
  // Most text is safe already; looking is ten times as fast as going byte by byte.
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return (c >= 0x20 && c < 0x7F) || c == '\t'; }))
    return std::string(text);
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    unsigned char c = static_cast<unsigned char>(text[0]);
    std::size_t used = 1;
    if (c == '\033') {
      used = escape_length(text);
    } else if (c == '\t' || (c >= 0x20 && c < 0x7F)) {
      safe += static_cast<char>(c);
    } else if (c >= 0x80) {
      std::size_t length = utf8_length(text);
      used = std::max<std::size_t>(length, 1);
      // U+0080..U+009F are control characters too; some terminals obey them.
      bool control = length == 2 && c == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
      if (length == 0)
        safe += "\xEF\xBF\xBD";
      else if (!control)
        safe += text.substr(0, used);
    } else if (c != '\r' && c != '\n' && c != 0x7F) {
      safe += '^';
      safe += static_cast<char>(c + '@');
    }
    text.remove_prefix(used);
  }
  return safe;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > 100) return {};  // the distance takes time in proportion to its length
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (auto& candidate : candidates) {
    std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance < std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (!best.empty() || word.size() < 3) return best;
  for (auto& candidate : candidates)
    if (candidate.find(word) != candidate.npos) return candidate;
  return {};
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  auto near = nearest(word, candidates);
  return near.empty() ? near : "did you mean '" + near + "'?";
}

std::string human(std::chrono::nanoseconds span) {
  using namespace std::chrono;
  auto ms = duration_cast<milliseconds>(span).count();
  char text[64];
  if (ms < 1000) {
    std::snprintf(text, sizeof text, "%lld ms", static_cast<long long>(ms));
  } else if (ms < 60'000) {
    std::snprintf(text, sizeof text, "%.3g s", static_cast<double>(ms) / 1000);
  } else {
    long long seconds = ms / 1000;
    if (seconds % 60)
      std::snprintf(text, sizeof text, "%lld min %lld s", seconds / 60, seconds % 60);
    else
      std::snprintf(text, sizeof text, "%lld min", seconds / 60);
  }
  return text;
}

std::string random_hex(std::size_t bytes) {
  std::string raw(bytes, '\0');
  if (::getrandom(raw.data(), raw.size(), 0) != static_cast<ssize_t>(raw.size()))
    throw sys_error("getting random bytes");
  std::string hex;
  for (unsigned char byte : raw) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace attest::base
