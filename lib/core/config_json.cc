#include "lib/core/config_json.h"

#include "lib/base/text.h"
#include "lib/core/config_check.h"

#include <algorithm>
#include <vector>

namespace attest::core::config {
namespace {

// Why the parser stopped, out of its "[id] parse error at …: while … - REASON; last read: '…'".
std::string reason_of(std::string_view what) {
  if (auto dash = what.find(" - "); dash != what.npos) what.remove_prefix(dash + 3);
  return std::string(what.substr(0, what.find(';')));
}

// The mistakes that people who write JSON by hand make, by what stands before and at the error.
std::string advice_for(std::string_view before, char at) {
  auto earlier = base::trim(before);
  if (at == '/' || at == '#' || earlier.ends_with('/')) return "JSON has no comments";
  if (at == '\'') return "strings stand in double quotes";
  if ((at == '}' || at == ']') && earlier.ends_with(','))
    return "no comma may stand before a closing bracket";
  return {};
}

Error syntax_error(std::string_view text, std::size_t position, const std::string& reason) {
  std::size_t at = std::min(position ? position - 1 : 0, text.size());
  auto before = text.substr(0, at);
  auto line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  auto line = 1 + std::ranges::count(before, '\n');
  auto column = 1 + std::ranges::count_if(before.substr(line_start),
                                          [](char c) { return (c & 0xC0) != 0x80; });
  auto from = std::max(line_start, at > 30 ? at - 30 : 0);
  while (from < at && (text[from] & 0xC0) == 0x80) ++from;
  auto excerpt = base::printable(text.substr(from, at + 1 - from));
  Error error(Error::Kind::usage, "not valid JSON at line " + std::to_string(line) + ", column " +
                                      std::to_string(column) +
                                      (excerpt.empty() ? "" : ", near '" + excerpt + "'") + ": " +
                                      reason);
  auto advice = advice_for(before, at < text.size() ? text[at] : '\0');
  if (!advice.empty()) error.hint(advice);
  return error;
}

// Builds the value as the parser's events come in.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(std::string_view text) : text_(text) {}
  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return add(value); }
  bool number_unsigned(std::uint64_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return add_digits(std::to_string(value));
    return add(static_cast<std::int64_t>(value));
  }
  bool number_float(double, const std::string& digits) override { return add_digits(digits); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }  // never comes out of text

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    auto [entry, fresh] = open_.back().value->get_ref<Json::object_t&>().emplace(name, nullptr);
    if (!fresh)
      throw problem(path(), "key '" + base::printable(name.substr(0, 60)) + "' is given twice");
    open_.back().key = name;
    slot_ = &entry->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    constexpr int number_overflow = 406;  // its text has another form; it holds for 1e999 only
    throw syntax_error(
        text_, position,
        error.id == number_overflow ? "this number is too large" : reason_of(error.what()));
  }

 private:
  struct Level {
    Json* value;      // stays where it is: a list does not grow while its last item is open
    std::string key;  // of the member under way, if it is an object
  };

  Json& place(Json&& value) {
    if (open_.empty()) return root_ = std::move(value);
    if (open_.back().value->is_object()) return *slot_ = std::move(value);
    auto& list = open_.back().value->get_ref<Json::array_t&>();
    return list.emplace_back(std::move(value));
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool add_digits(const std::string& digits) {
    return add(Json::binary({digits.begin(), digits.end()}));
  }
  bool open(Json value) {
    if (open_.size() >= most_depth)
      throw problem(path(), "lists and objects are nested more than " + std::to_string(most_depth) +
                                " levels deep");
    open_.push_back({&place(std::move(value)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  // Of the innermost open list or object.
  std::string path() const {
    std::string text;
    for (std::size_t i = 0; i + 1 < open_.size(); ++i) {
      auto& level = open_[i];
      text =
          level.value->is_object() ? child(text, level.key) : item(text, level.value->size() - 1);
    }
    return text;
  }

  std::string_view text_;
  Json root_;
  std::vector<Level> open_;
  Json* slot_ = nullptr;
};

}  // namespace

Json parse_json(std::string_view text) {
  if (text.size() > most_text)
    throw Error(Error::Kind::usage,
                "a config of more than " + std::to_string(most_text >> 20) + " MiB is not read");
  Builder builder(text);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::string:
      return got_text(value.get_ref<const std::string&>());
    case Json::value_t::array:
      return "a list";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::binary: {
      auto& digits = value.get_binary();
      std::string shown(digits.begin(), digits.end());
      return "the number " + (shown.size() > 60 ? shown.substr(0, 60) + "..." : shown);
    }
    case Json::value_t::number_integer:
      return got_number(value.get<std::int64_t>());
    default:
      return value.dump();  // null, true, false
  }
}

}  // namespace attest::core::config
