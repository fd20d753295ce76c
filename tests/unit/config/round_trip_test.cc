#include "lib/core/config_check.h"
#include "lib/core/config_table.h"

#include <gtest/gtest.h>

#include <random>

namespace attest::core::config {
namespace {

// Fills configs with random values that obey the table's rules; a new key is covered by itself.
class Filler {
 public:
  explicit Filler(unsigned seed) : random_(seed) {}

  template <class T>
  void operator()(T& value, const Rule& rule, const std::string&) {
    if constexpr (Flag<T>)
      value = below(2);
    else if constexpr (Number<T>)
      value = static_cast<T>(number(rule));
    else if constexpr (Text<T>)
      value = text(rule);
    else if constexpr (Choice<T>)
      value = static_cast<T>(below(Names<T>::all.size()));
    else if constexpr (List<T>)
      fill(value, rule);
    else if constexpr (Map<T>)
      for (auto n = below(4); n > 0; --n) value[of_form(rule.keys)];
  }

 private:
  std::size_t below(std::size_t end) { return random_() % end; }

  std::int64_t number(const Rule& rule) {
    switch (below(3)) {
      case 0:
        return rule.min;
      case 1:
        return rule.max;
      default:
        return std::uniform_int_distribution<std::int64_t>(rule.min, rule.max)(random_);
    }
  }
  // The walk draws each item again, so items that must differ would not: one item at most then.
  template <class T>
  void fill(std::vector<T>& list, const Rule& rule) {
    list.resize(below(rule.unique ? 2 : 4));
  }
  std::string text(const Rule& rule) {
    if (!rule.choices.empty()) return std::string(rule.choices[below(rule.choices.size())]);
    return rule.filled || below(2) ? of_form(rule.form) : "";
  }
  std::string of_form(Form form) {
    static const std::vector<std::string> pieces{
        "a",  "B",  "7",    "_",        "-",
        ".",  "@",  "/",    " ",        "\"",
        "\\", "\n", "\x7F", "\xC3\xBC", "\xF0\x9F\x90\xA7"};
    for (;;) {
      std::string candidate = form == Form::guest_path ? "/" : "";
      for (auto n = 1 + below(6); n > 0; --n)
        candidate += pieces[below(form == Form::file_mode ? 3 : pieces.size())];
      if (form == Form::file_mode) candidate = below(2) ? "0755" : "600";
      if (accepts(form, candidate)) return candidate;
    }
  }

  std::mt19937 random_;
};

TEST(RoundTrip, JsonHoldsTheWholeConfig) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    Config config;
    Filler fill(seed);
    walk(config, {}, "", fill);
    auto json = config.to_json();
    ASSERT_EQ(Config::from_json(json), config) << "seed " << seed << "\n" << json;
  }
}

TEST(RoundTrip, ListsOfSeveralNumbers) {
  Config config;
  config.vlans = {254, 1, 7};
  EXPECT_EQ(Config::from_json(config.to_json()), config);
}

TEST(FromJson, LeavesOutMeansDefault) { EXPECT_EQ(Config::from_json("{}"), Config()); }

TEST(FromJson, ADiskMayBeJustItsPath) {
  EXPECT_EQ(Config::from_json(R"({"machines":{"web":{"disks":["/d"]}}})"),
            Config::from_json(R"({"machines":{"web":{"disks":[{"path":"/d"}]}}})"));
}

}  // namespace
}  // namespace attest::core::config
