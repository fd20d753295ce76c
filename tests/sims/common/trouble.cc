#include "tests/sims/common/trouble.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <map>

namespace attest::sims {
namespace {

const std::map<std::string, Trouble::Kind, std::less<>> kinds = {
    {"stall", Trouble::Kind::stall},     {"drop", Trouble::Kind::drop},
    {"refuse", Trouble::Kind::refuse},   {"die", Trouble::Kind::die},
    {"garbage", Trouble::Kind::garbage}, {"http500", Trouble::Kind::http500},
};

Error unreadable(const std::string& item) {
  return Error(Error::Kind::usage, "ATTEST_SIM_TROUBLE: '" + item +
                                       "' is not KIND:WHAT or KIND:WHAT@N with a KIND of stall, "
                                       "drop, refuse, die, garbage, http500");
}

}  // namespace

Trouble::Trouble(std::string_view list) {
  std::string text(list);
  std::replace(text.begin(), text.end(), ';', ',');
  for (auto& part : base::split(text, ',')) {
    std::string item(base::trim(part));
    if (item.empty()) continue;
    auto colon = item.find(':');
    if (colon == std::string::npos) throw unreadable(item);
    auto kind = kinds.find(item.substr(0, colon));
    if (kind == kinds.end()) throw unreadable(item);
    Item made{.kind = kind->second, .what = item.substr(colon + 1)};
    if (auto at = made.what.rfind('@'); at != std::string::npos) {
      made.only = std::atoi(made.what.c_str() + at + 1);
      made.what.erase(at);
      if (made.only < 1) throw unreadable(item);
    }
    if (made.what.empty()) throw unreadable(item);
    items_.push_back(std::move(made));
  }
}

Trouble Trouble::from_environment() {
  const char* list = std::getenv("ATTEST_SIM_TROUBLE");
  return Trouble(list ? list : "");
}

Trouble::Kind Trouble::take(std::string_view what) {
  Kind found = Kind::none;
  for (auto& item : items_) {
    if (!what.starts_with(item.what)) continue;
    ++item.seen;
    if (found == Kind::none && (item.only == 0 || item.only == item.seen)) found = item.kind;
  }
  return found;
}

Trouble::Kind Trouble::suffer(std::string_view what) {
  Kind kind = take(what);
  if (kind == Kind::die) ::kill(::getpid(), SIGKILL);
  return kind;
}

}  // namespace attest::sims
