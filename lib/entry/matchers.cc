#include "attest/matchers.h"

#include "lib/base/text.h"

#include <functional>
#include <mutex>
#include <optional>

namespace attest {
namespace {

constexpr std::size_t quoted_lines = 30;

std::string block(const std::string& title, const std::string& text) {
  if (text.empty()) return "\n  " + title + ": nothing";
  std::string all = "\n  " + title + ", last lines:";
  for (auto& line : base::split(base::last_lines(text, quoted_lines), '\n'))
    all += "\n  | " + base::printable(line);
  return all;
}

std::string story_of(const CommandResult& result) {
  return "exited with code " + std::to_string(result.exit_code) + " after " +
         base::human(result.duration) + block("stdout", result.output) +
         block("stderr", result.error_output);
}

/// What asking a machine gave.
struct Answer {
  bool matches = false;
  std::string why;
};

// gmock matches a failing value twice, the second time to hear why; the machine is asked only once.
class AskingMatcher final : public testing::MatcherInterface<const Machine&> {
 public:
  using Ask = std::function<Answer(Machine&)>;
  AskingMatcher(Ask ask, std::string is, std::string is_not)
      : ask_(std::move(ask)), is_(std::move(is)), is_not_(std::move(is_not)) {}

  bool MatchAndExplain(const Machine& machine,
                       testing::MatchResultListener* listener) const override {
    auto answer = answer_for(machine, listener->IsInterested());
    *listener << answer.why;
    return answer.matches;
  }
  void DescribeTo(std::ostream* out) const override { *out << is_; }
  void DescribeNegationTo(std::ostream* out) const override { *out << is_not_; }

 private:
  Answer answer_for(const Machine& machine, bool to_explain) const {
    {
      std::lock_guard hold(mutex_);
      auto known = std::exchange(last_, std::nullopt);
      if (to_explain && known && known->first == &machine) return known->second;
    }
    // A matcher is only ever given const references; asking does not change the handle.
    auto answer = asked(const_cast<Machine&>(machine));
    std::lock_guard hold(mutex_);
    if (!to_explain) last_ = std::pair(&machine, answer);
    return answer;
  }

  Answer asked(Machine& machine) const {
    try {
      return ask_(machine);
    } catch (const Error& e) {
      if (e.kind() != Error::Kind::guest && e.kind() != Error::Kind::timeout) throw;
      return {false, std::string("which failed: ") + e.what()};
    }
  }

  Ask ask_;
  std::string is_, is_not_;
  mutable std::mutex mutex_;
  mutable std::optional<std::pair<const Machine*, Answer>> last_;
};

testing::Matcher<const Machine&> asking(AskingMatcher::Ask ask, const std::string& what,
                                        const std::string& verb, const std::string& verb_not) {
  return testing::Matcher<const Machine&>(
      new AskingMatcher(std::move(ask), verb + " " + what, verb_not + " " + what));
}

testing::Matcher<const Machine&> running(std::string command, CommandOptions options, bool good) {
  std::string what = "`" + base::dedent(command) + "`";
  auto ask = [command = std::move(command), options, good](Machine& machine) {
    auto result = machine.execute(command, options);
    return Answer{(result.exit_code == 0) == good, "which " + story_of(result)};
  };
  return good ? asking(ask, what, "succeeds at", "does not succeed at")
              : asking(ask, what, "fails at", "does not fail at");
}

class ResultMatcher final : public testing::MatcherInterface<const CommandResult&> {
 public:
  using Match = std::function<bool(const CommandResult&, testing::MatchResultListener*)>;
  using Describe = std::function<void(std::ostream*, bool negated)>;
  ResultMatcher(Match match, Describe describe)
      : match_(std::move(match)), describe_(std::move(describe)) {}
  bool MatchAndExplain(const CommandResult& result,
                       testing::MatchResultListener* listener) const override {
    return match_(result, listener);
  }
  void DescribeTo(std::ostream* out) const override { describe_(out, false); }
  void DescribeNegationTo(std::ostream* out) const override { describe_(out, true); }

 private:
  Match match_;
  Describe describe_;
};

}  // namespace

testing::Matcher<const Machine&> Succeeds(std::string command, CommandOptions options) {
  return running(std::move(command), options, true);
}

testing::Matcher<const Machine&> Fails(std::string command, CommandOptions options) {
  return running(std::move(command), options, false);
}

testing::Matcher<const Machine&> UnitIs(std::string unit, std::string state, UnitOptions options) {
  std::string what = "unit '" + unit + "' in state '" + state + "'";
  auto ask = [unit = std::move(unit), state = std::move(state), options](Machine& machine) {
    auto now = machine.get_unit_property(unit, "ActiveState", options);
    std::string why = "whose unit is in state '" + now + "'";
    if (now != state)
      why += block("its status",
                   machine.systemctl("status -- " + base::shell_quote(unit), options).output);
    return Answer{now == state, why};
  };
  return asking(ask, what, "has", "does not have");
}

testing::Matcher<const CommandResult&> ExitsWith(int code) {
  auto match = [code](const CommandResult& result, testing::MatchResultListener* listener) {
    *listener << "which exited with code " << result.exit_code;
    return result.exit_code == code;
  };
  auto describe = [code](std::ostream* out, bool negated) {
    *out << (negated ? "does not exit" : "exits") << " with code " << code;
  };
  return testing::Matcher<const CommandResult&>(new ResultMatcher(match, describe));
}

testing::Matcher<const CommandResult&> detail::prints(testing::Matcher<const std::string&> text,
                                                      bool error_output) {
  std::string which = error_output ? "stderr" : "stdout";
  auto match = [=](const CommandResult& result, testing::MatchResultListener* listener) {
    testing::StringMatchResultListener why;
    bool matches = text.MatchAndExplain(error_output ? result.error_output : result.output, &why);
    if (auto words = why.str(); !words.empty()) *listener << "whose " << which << " " << words;
    return matches;
  };
  auto describe = [=](std::ostream* out, bool negated) {
    *out << "has a " << which << " that ";
    negated ? text.DescribeNegationTo(out) : text.DescribeTo(out);
  };
  return testing::Matcher<const CommandResult&>(new ResultMatcher(match, describe));
}

void PrintTo(const Machine& machine, std::ostream* out) {
  *out << "machine '" << machine.name() << "'";
}

void PrintTo(const CommandResult& result, std::ostream* out) {
  *out << "a command that " << story_of(result);
}

}  // namespace attest
