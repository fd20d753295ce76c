#include "lib/proto/agent_codec.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace attest::proto {
namespace {

constexpr std::size_t head_size = 9;
constexpr std::size_t longest_line = 512;
constexpr std::size_t usual_memory = 4 * agent_data_limit;
constexpr std::string_view agent_word = "ATTEST-AGENT/";
constexpr std::string_view host_word = "ATTEST-HOST/";
constexpr std::string_view question_word = "ask";

void put32(std::string& to, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>(value >> shift & 0xff);
}

void put16(std::string& to, std::size_t value) {
  to += static_cast<char>(value >> 8 & 0xff);
  to += static_cast<char>(value & 0xff);
}

std::uint32_t integer(std::string_view bytes, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || text.empty())
    return std::nullopt;
  return value;
}

// A word for a line: nothing that could end it or look like another.
bool is_word(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::optional<AgentGreeting> parse_line(std::string_view line, AgentDecoder::Expect expect) {
  auto word = expect == AgentDecoder::Expect::greeting ? agent_word : host_word;
  if (!line.starts_with(word) || line.size() > longest_line) return std::nullopt;
  line.remove_prefix(word.size());
  auto space = line.find(' ');
  auto version = number_of<int>(line.substr(0, space));
  if (!version) return std::nullopt;
  AgentGreeting greeting{.version = *version};
  while (space != std::string_view::npos) {
    line.remove_prefix(space + 1);
    space = line.find(' ');
    auto part = line.substr(0, space);
    if (!is_word(part)) return std::nullopt;
    if (expect == AgentDecoder::Expect::hello) {
      if (greeting.nonce.empty()) {
        greeting.nonce = part;
      } else if (part == question_word) {
        greeting.asks = true;
      }
      continue;
    }
    if (part.starts_with("machine=")) greeting.machine = part.substr(8);
    if (part.starts_with("boot=")) greeting.boot_id = part.substr(5);
    if (part.starts_with("asked=")) greeting.nonce = part.substr(6);
  }
  return greeting;
}

// The first line in a line: the noise before it may have had no end of its own.
std::optional<AgentGreeting> find_in_line(std::string_view line, AgentDecoder::Expect expect) {
  auto start = line.rfind(expect == AgentDecoder::Expect::greeting ? agent_word : host_word);
  if (start == std::string_view::npos) return std::nullopt;
  return parse_line(line.substr(start), expect);
}

}  // namespace

AgentFields::AgentFields(
    std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  for (auto& [name, value] : fields) add(name, value);
}

AgentFields& AgentFields::add(std::string_view name, std::string_view value) {
  fields_.emplace_back(name, value);
  return *this;
}

AgentFields& AgentFields::add(std::string_view name, std::int64_t value) {
  return add(name, std::string_view(std::to_string(value)));
}

std::string_view AgentFields::get(std::string_view name, std::string_view otherwise) const {
  for (auto& [key, value] : fields_)
    if (key == name) return value;
  return otherwise;
}

std::optional<std::int64_t> AgentFields::number(std::string_view name) const {
  return number_of<std::int64_t>(get(name));
}

bool AgentFields::has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(), [&](auto& f) { return f.first == name; });
}

std::vector<std::string> AgentFields::all(std::string_view name) const {
  std::vector<std::string> values;
  for (auto& [key, value] : fields_)
    if (key == name) values.push_back(value);
  return values;
}

std::string AgentFields::encode() const {
  std::string bytes;
  for (auto& [name, value] : fields_) {
    put16(bytes, name.size());
    bytes += name;
    put32(bytes, static_cast<std::uint32_t>(value.size()));
    bytes += value;
  }
  return bytes;
}

std::optional<AgentFields> AgentFields::decode(std::string_view bytes) {
  AgentFields fields;
  while (!bytes.empty()) {
    if (bytes.size() < 2) return std::nullopt;
    std::size_t name = integer(bytes, 2);
    if (bytes.size() < 2 + name + 4) return std::nullopt;
    std::size_t value = integer(bytes.substr(2 + name), 4);
    if (bytes.size() - (2 + name + 4) < value) return std::nullopt;
    fields.add(bytes.substr(2, name), bytes.substr(2 + name + 4, value));
    bytes.remove_prefix(2 + name + 4 + value);
  }
  return fields;
}

std::optional<std::pair<std::uint8_t, std::string_view>> AgentFrame::channel() const {
  if (payload.empty()) return std::nullopt;
  return std::pair(static_cast<std::uint8_t>(payload[0]), payload.substr(1));
}

std::optional<std::uint32_t> AgentFrame::credit() const {
  if (payload.size() != 4) return std::nullopt;
  return integer(payload, 4);
}

std::string agent_frame(AgentFrameType type, std::uint32_t stream, std::string_view payload) {
  std::string frame;
  frame.reserve(head_size + payload.size());
  put32(frame, static_cast<std::uint32_t>(payload.size()));
  frame += static_cast<char>(type);
  put32(frame, stream);
  frame += payload;
  return frame;
}

std::string agent_data_head(std::uint32_t stream, std::uint8_t channel, std::size_t size) {
  std::string head;
  put32(head, static_cast<std::uint32_t>(size + 1));
  head += static_cast<char>(AgentFrameType::data);
  put32(head, stream);
  head += static_cast<char>(channel);
  return head;
}

std::string agent_end(std::uint32_t stream, std::uint8_t channel) {
  char byte = static_cast<char>(channel);
  return agent_frame(AgentFrameType::end, stream, std::string_view(&byte, 1));
}

std::string agent_window_frame(std::uint32_t stream, std::uint32_t credit) {
  std::string number;
  put32(number, credit);
  return agent_frame(AgentFrameType::window, stream, number);
}

std::string agent_greeting(std::string_view machine, std::string_view boot_id,
                           std::string_view asked) {
  // The line end before it keeps it whole for people when a console's text comes first.
  return "\n" + std::string(agent_word) + std::to_string(agent_version) +
         " machine=" + std::string(machine) + " boot=" + std::string(boot_id) +
         (asked.empty() ? "" : " asked=" + std::string(asked)) + "\n";
}

std::string agent_hello(std::string_view nonce) {
  return "\n" + std::string(host_word) + std::to_string(agent_version) + " " + std::string(nonce) +
         "\n";
}

std::string agent_question(std::string_view nonce) {
  return agent_hello(std::string(nonce) + " " + std::string(question_word));
}

void AgentDecoder::feed(std::string_view bytes) {
  if (bytes.empty() || !broken_.empty()) return;
  std::memcpy(room(bytes.size()).data(), bytes.data(), bytes.size());
  filled(bytes.size());
}

// What waits is moved only when there is no room behind it, which is once in several frames.
std::span<char> AgentDecoder::room(std::size_t wish) {
  const auto waiting = end_ - begin_;
  if (waiting == 0) begin_ = end_ = 0;
  // One large frame must not keep its memory for the rest of a long life.
  if (waiting == 0 && size_ > usual_memory) {
    memory_.reset();
    size_ = 0;
  }
  if (size_ - end_ < wish) {
    if (waiting + wish > size_) {
      size_ = std::max(usual_memory, waiting + wish + waiting / 2);
      auto larger = std::make_unique_for_overwrite<char[]>(size_);
      if (waiting > 0) std::memcpy(larger.get(), memory_.get() + begin_, waiting);
      memory_ = std::move(larger);
    } else {
      std::memmove(memory_.get(), memory_.get() + begin_, waiting);
    }
    begin_ = 0;
    end_ = waiting;
  }
  return {memory_.get() + end_, size_ - end_};
}

void AgentDecoder::filled(std::size_t count) {
  if (!broken_.empty()) return;
  end_ += count;
  if (!greeted_) find_first_line();
}

void AgentDecoder::find_first_line() {
  for (;;) {
    auto end = rest().find('\n');
    // What is longer than any first line is noise, with or without an end.
    bool noise = end == std::string_view::npos && rest().size() > longest_line;
    if (end == std::string_view::npos && !noise) return;
    if (noise) end = rest().size() - longest_line - 1;
    auto line = rest().substr(0, end);
    auto greeting = noise ? std::nullopt : find_in_line(line, expect_);
    if (!greeting) {
      skipped_.append(rest().substr(0, end + 1));
      if (skipped_.size() > 2048) skipped_.erase(0, skipped_.size() - 2048);
      begin_ += end + 1;
      continue;
    }
    begin_ += end + 1;
    greeted_ = true;
    greeting_ = *std::move(greeting);
    if (greeting_.version != agent_version)
      broken_ = "the peer speaks version " + std::to_string(greeting_.version) +
                " of the agent's protocol, this is version " + std::to_string(agent_version);
    return;
  }
}

std::optional<AgentFrame> AgentDecoder::next() {
  if (!greeted_ || !broken_.empty()) return std::nullopt;
  const auto rest = this->rest();
  if (rest.size() < head_size || may_become_line() || line_here()) return std::nullopt;
  std::size_t size = integer(rest, 4);
  if (size > agent_frame_limit) {
    broken_ = "a frame of " + std::to_string(size) + " bytes was announced; at most " +
              std::to_string(agent_frame_limit) + " are allowed";
    return std::nullopt;
  }
  if (rest.size() < head_size + size) return std::nullopt;
  begin_ += head_size + size;
  return AgentFrame{static_cast<std::uint8_t>(rest[4]), integer(rest.substr(5), 4),
                    rest.substr(head_size, size)};
}

std::optional<std::size_t> AgentDecoder::line_at_end() const {
  const auto rest = this->rest();
  if (!greeted_ || rest.empty() || rest.back() != '\n') return std::nullopt;
  auto tail = rest.substr(rest.size() - std::min(rest.size(), longest_line));
  auto at = tail.rfind(expect_ == Expect::greeting ? agent_word : host_word);
  if (at == std::string_view::npos) return std::nullopt;
  auto line = tail.substr(at, tail.size() - at - 1);
  if (line.find('\n') != std::string_view::npos || !parse_line(line, expect_)) return std::nullopt;
  return rest.size() - (tail.size() - at);
}

// "\nATT" as a length is far over the limit, so a line that begins where a frame would is no frame.
bool AgentDecoder::line_here() const {
  const auto rest = this->rest();
  auto word = expect_ == Expect::greeting ? agent_word : host_word;
  if (!greeted_ || !rest.starts_with('\n') || !rest.substr(1).starts_with(word)) return false;
  auto end = rest.find('\n', 1);
  return end != std::string_view::npos && end <= longest_line &&
         find_in_line(rest.substr(1, end - 1), expect_);
}

bool AgentDecoder::may_become_line() const {
  auto rest = this->rest();
  auto word = expect_ == Expect::greeting ? agent_word : host_word;
  if (!rest.starts_with('\n') || rest.size() > longest_line) return false;
  rest.remove_prefix(1);
  return rest.find('\n') == std::string_view::npos &&
         rest.substr(0, word.size()) == word.substr(0, rest.size());
}

bool AgentDecoder::restarted() const { return line_here() || line_at_end(); }

void AgentDecoder::start_over() {
  greeted_ = false;
  broken_.clear();
  find_first_line();
}

void AgentDecoder::restart() {
  if (!line_here()) begin_ += line_at_end().value_or(rest().size());
  greeted_ = false;
  broken_.clear();
  find_first_line();
}

}  // namespace attest::proto
