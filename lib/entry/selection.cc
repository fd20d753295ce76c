#include "lib/entry/selection.h"

#include "lib/base/text.h"

#include <algorithm>

namespace attest::entry {
namespace {

bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {  // let the last star take one byte more
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool any_matches(std::string_view patterns, std::string_view name) {
  auto list = base::split(patterns, ':');
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& pattern) { return glob_matches(pattern, name); });
}

bool disabled(std::string_view test_name) {
  // gtest looks at the suite and at the test, also behind a "Prefix/".
  auto dot = test_name.find('.');
  auto starts = [](std::string_view part) {
    return part.starts_with("DISABLED_") || part.find("/DISABLED_") != std::string_view::npos;
  };
  return starts(test_name.substr(0, dot)) || starts(test_name.substr(dot + 1));
}

}  // namespace

bool filter_matches(std::string_view filter, std::string_view test_name) {
  auto dash = filter.find('-');
  auto positive = filter.substr(0, dash);
  bool included = positive.empty() || any_matches(positive, test_name);
  return included &&
         (dash == std::string_view::npos || !any_matches(filter.substr(dash + 1), test_name));
}

int selected_count(const std::vector<std::string>& tests, const Selection& selection) {
  int runnable = 0, selected = 0;
  for (auto& name : tests) {
    if (!selection.also_disabled && disabled(name)) continue;
    if (!filter_matches(selection.filter, name)) continue;
    if (runnable++ % selection.total_shards == selection.shard_index) ++selected;
  }
  return selected;
}

}  // namespace attest::entry
