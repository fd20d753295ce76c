#include "lib/proto/shell.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <algorithm>
#include <charconv>
#include <vector>

// A frame is
//     NONCE{ID KIND CODE OUT ERR\n   then OUT + ERR bytes, then   \nNONCE}ID\n
// and the probe's answer is NONCE?VERSION\n. The closing line makes a loss visible at once: if it
// comes early, bytes are missing. It is searched for in the payload, too; the nonce is 64 random
// bits that no command gets to see.

namespace attest::proto {
namespace {

constexpr std::size_t head_limit = 120;  // a longer head line is damage
constexpr std::size_t skipped_limit = 2048;

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool known(char kind) { return std::string_view("brfdsp").find(kind) != std::string_view::npos; }

// How many bytes at the end of `text` could be the start of `marker`.
std::size_t partial(std::string_view text, std::string_view marker) {
  for (std::size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n)
    if (text.ends_with(marker.substr(0, n))) return n;
  return 0;
}

}  // namespace

void ShellDecoder::feed(std::string_view bytes) { buffer_ += bytes; }

std::optional<ShellEvent> ShellDecoder::next() { return head_ ? finish() : search(); }

std::optional<std::uint64_t> ShellDecoder::unfinished() const {
  return head_ ? std::optional(head_->frame.id) : std::nullopt;
}

std::optional<ShellEvent> ShellDecoder::give_up_unfinished() {
  if (!head_) return std::nullopt;
  lost_ = head_->frame.id;
  ShellDamage damage{head_->frame.id, "the end of the reply did not arrive"};
  head_.reset();
  searched_ = 0;
  return damage;
}

void ShellDecoder::drop(std::size_t count) {
  skipped_.append(buffer_, 0, count);
  if (skipped_.size() > skipped_limit) skipped_.erase(0, skipped_.size() - skipped_limit);
  buffer_.erase(0, count);
  searched_ = 0;
}

std::optional<ShellDecoder::Head> ShellDecoder::parse_head(std::string_view line) const {
  auto words = base::split(line, ' ');
  if (words.size() != 5 || words[1].size() != 1 || !known(words[1][0])) return std::nullopt;
  auto id = number<std::uint64_t>(words[0]);
  auto code = number<int>(words[2]);
  auto out = number<std::uint64_t>(words[3]), err = number<std::uint64_t>(words[4]);
  if (!id || !code || !out || !err) return std::nullopt;
  // A guest without a size limit on its files may announce more; so much is never kept here.
  if (*out > shell_output_limit || *err > shell_output_limit) return std::nullopt;
  Head head;
  head.frame.id = *id;
  head.frame.kind = static_cast<ShellFrame::Kind>(words[1][0]);
  head.frame.code = *code;
  head.out = *out;
  head.err = *err;
  return head;
}

// Outside a frame: looks for the banner or for one of our markers, whichever is first.
std::optional<ShellEvent> ShellDecoder::search() {
  for (;;) {
    std::string_view text = std::string_view(buffer_);
    auto banner = text.find(shell_banner, searched_);
    auto mark = nonce_.empty() ? text.npos : text.find(nonce_, searched_);
    if (banner < mark) {
      drop(banner + shell_banner.size());
      return ShellBanner{};
    }
    if (mark == text.npos) {
      std::size_t keep = partial(text, shell_banner);
      if (!nonce_.empty()) keep = std::max(keep, partial(text, nonce_));
      drop(text.size() - keep);
      return std::nullopt;
    }
    drop(mark);
    text = buffer_;
    auto end = text.substr(0, nonce_.size() + head_limit).find('\n');
    if (end == text.npos) {
      if (text.size() < nonce_.size() + head_limit) return std::nullopt;
      drop(nonce_.size());
      return ShellDamage{std::nullopt, "a reply has no proper first line"};
    }
    char sort = text[nonce_.size()];
    std::string line(text.substr(nonce_.size() + 1, end - std::min(end, nonce_.size() + 1)));
    if (line.find(nonce_) != line.npos) {  // the rest of this line was lost; another frame follows
      drop(nonce_.size());
      return ShellDamage{std::nullopt, "a reply lost its first line"};
    }
    if (sort == '?') {
      buffer_.erase(0, end + 1);
      searched_ = 0;
      return ShellHello{line};
    }
    if (sort == '}') {
      buffer_.erase(0, end + 1);
      searched_ = 0;
      auto id = number<std::uint64_t>(line);
      if (id && id == lost_) continue;  // its damage has been reported
      return ShellDamage{id, "only the end of the reply arrived"};
    }
    auto head = sort == '{' ? parse_head(line) : std::nullopt;
    buffer_.erase(0, end + 1);
    searched_ = 0;
    if (!head) {
      auto id = sort == '{' ? number<std::uint64_t>(line.substr(0, line.find(' '))) : std::nullopt;
      lost_ = id;
      return ShellDamage{id,
                         "the reply's first line is malformed: '" + base::printable(line) + "'"};
    }
    head_ = std::move(head);
    // Growing in steps would pause the reader, and hvc0 loses output meanwhile.
    buffer_.reserve(head_->out + head_->err + 2 * head_limit);
    return finish();
  }
}

// Inside a frame: complete, damaged (a marker comes early, or something else stands where the
// closing line belongs), or more bytes needed.
std::optional<ShellEvent> ShellDecoder::finish() {
  const std::string closing = "\n" + nonce_ + "}" + std::to_string(head_->frame.id) + "\n";
  const std::size_t length = head_->out + head_->err;
  auto mark = buffer_.find(nonce_, searched_);
  if (mark != buffer_.npos && mark < length + 1) {
    lost_ = head_->frame.id;
    ShellDamage damage{head_->frame.id, "bytes of the reply were lost: " + std::to_string(length) +
                                            " announced, at most " + std::to_string(mark) +
                                            " arrived"};
    head_.reset();
    buffer_.erase(0, mark);
    searched_ = 0;
    return damage;
  }
  if (buffer_.size() < length + closing.size()) {
    searched_ = buffer_.size() - std::min(buffer_.size(), nonce_.size());
    return std::nullopt;
  }
  if (std::string_view(buffer_).substr(length, closing.size()) == closing) {
    ShellFrame frame = std::move(head_->frame);
    frame.output = buffer_.substr(0, head_->out);
    frame.error_output = buffer_.substr(head_->out, head_->err);
    head_.reset();
    buffer_.erase(0, length + closing.size());
    if (buffer_.empty()) buffer_.shrink_to_fit();  // 64 MiB once must not stay for ever
    searched_ = 0;
    return frame;
  }
  lost_ = head_->frame.id;
  ShellDamage damage{head_->frame.id, "the reply does not end where it said it would"};
  head_.reset();
  buffer_.erase(0, std::min(length, buffer_.size()));
  searched_ = 0;
  return damage;
}

std::string shell_probe(std::string_view nonce) {
  auto half = nonce.size() / 2;
  return "\n#'\nprintf '%s%s?%s\\n' " + std::string(nonce.substr(0, half)) + " " +
         std::string(nonce.substr(half)) + " \"$BASH_VERSION\"\n";
}

std::string shell_command(unsigned slot, std::uint64_t id, std::string_view text) {
  if (text.find('\0') != text.npos)
    throw Error(Error::Kind::usage, "a command contains a NUL byte, which no shell can take")
        .hint("write the bytes to a file, or use printf '\\0' in the command");
  auto name = std::to_string(id);
  // The id comes twice: a line that lost its middle does not run.
  return "_at_1 " + std::to_string(slot) + " " + name + " " + base::shell_quote(text) + " " + name +
         "\n";
}

std::string shell_start(unsigned slot) {
  return "_at_x=" + std::to_string(slot) + ";eval \"$_at_S\"\n";
}

std::string shell_kill(unsigned slot, std::uint64_t id, std::string_view signal) {
  return "_at_2 " + std::to_string(slot) + " " + std::to_string(id) + " " + std::string(signal) +
         "\n";
}

std::string shell_check(unsigned slot, std::uint64_t id) {
  return "_at_3 " + std::to_string(slot) + " " + std::to_string(id) + "\n";
}

std::string shell_ping(std::uint64_t id) {
  // In a shell that waits for a lost closing quote, the quote closes it; else it is a comment.
  return "\n#'\n_at_say " + std::to_string(id) + " p 0\n";
}

}  // namespace attest::proto
