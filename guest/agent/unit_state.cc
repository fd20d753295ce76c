#include "guest/agent/unit_state.h"

#include <algorithm>
#include <iterator>

namespace attest::agent {
namespace {

using What = UnitVerdict::What;

// Also true for a unit that was never loaded: it has no times.
bool is_time(std::string_view text) { return !text.empty() && text != "0"; }

std::string quoted(std::string_view unit) { return "unit \"" + std::string(unit) + "\""; }

// A oneshot service without RemainAfterExit= goes from activating to inactive when it has done its
// work. systemd forgets all about it then, if nothing else refers to it, so what was seen counts.
bool has_run_to_its_end(const UnitFacts& facts) {
  if (facts.type != "oneshot" || facts.remains == "1") return false;
  if (facts.ran_meanwhile) return true;
  return facts.result == "success" && is_time(facts.exited_at) && is_time(facts.inactive_at);
}

std::string how_it_ended(const UnitFacts& facts) {
  std::string text;
  if (!facts.result.empty() && facts.result != "success") text = "result " + facts.result;
  if (!is_time(facts.exited_at)) return text;
  if (!text.empty()) text += ", ";
  if (facts.exit_code == "1") return text + "exit status " + facts.exit_status;
  return text + "killed by signal " + facts.exit_status;
}

UnitVerdict lost(std::string text, std::string_view more = "") {
  if (!more.empty()) text.append(" (").append(more) += ')';
  return {What::lost, std::move(text)};
}

UnitVerdict judge_inactive(std::string_view unit, const UnitFacts& facts,
                           std::string_view system_state) {
  if (has_run_to_its_end(facts)) return {What::holds, ""};
  // Before the boot's own jobs are queued, and while early units may still pull in others, that
  // there is no job means nothing.
  if (system_state == "initializing") return {What::goes_on, "inactive, the guest is booting"};
  std::string why = "inactive and there are no pending jobs";
  std::string more;
  if (facts.condition == "0" && is_time(facts.condition_at)) more = "its conditions were not met";
  if (!facts.job_result.empty() && facts.job_result != "done")
    more = "its job ended with " + facts.job_result;
  if (more.empty()) more = how_it_ended(facts);
  auto verdict = lost(quoted(unit) + " is " + why, more);
  verdict.what = What::look_again;
  return verdict;
}

}  // namespace

std::string describe(const UnitFacts& facts) {
  auto text = facts.active;
  if (!facts.sub.empty() && facts.sub != facts.active) text += " (" + facts.sub + ")";
  if (!facts.restarts.empty() && facts.restarts != "0")
    text += ", restarted " + facts.restarts + (facts.restarts == "1" ? " time" : " times");
  if (!facts.result.empty() && facts.result != "success") text += ", last result " + facts.result;
  if (facts.job && facts.active != "activating") text += ", job queued";
  return text;
}

UnitVerdict judge(std::string_view unit, std::string_view wanted, const UnitFacts& facts,
                  std::string_view system_state) {
  bool up = facts.active == "active" || facts.active == "reloading" || facts.active == "refreshing";
  if (facts.active == wanted || (wanted == "active" && up)) return {What::holds, ""};
  if (wanted != "active") return {What::goes_on, describe(facts)};
  bool moving = facts.active == "activating" || facts.active == "deactivating" ||
                facts.active == "maintenance";
  if (facts.load == "not-found" && !up) return lost(quoted(unit) + " does not exist");
  if (facts.load == "masked") return lost(quoted(unit) + " is masked");
  if (facts.load == "bad-setting" || facts.load == "error")
    return lost(quoted(unit) + " cannot be loaded: its state is \"" + facts.load + "\"");
  // The word for a machine that stopped on its way up, in emergency.target or rescue.target.
  bool aside = unit == "emergency.target" || unit == "rescue.target";
  if (system_state == "maintenance" && !aside && !moving)
    return lost(quoted(unit) + " is " + facts.active + ": the guest is in emergency mode");
  if (facts.job || moving) return {What::goes_on, describe(facts)};
  if (facts.active == "failed")
    return lost(quoted(unit) + " reached state \"failed\"", how_it_ended(facts));
  if (facts.active == "inactive") return judge_inactive(unit, facts, system_state);
  return {What::goes_on, describe(facts)};
}

std::string unit_name(std::string_view name) {
  constexpr std::string_view suffixes[] = {".service", ".socket",    ".target", ".device",
                                           ".mount",   ".automount", ".swap",   ".timer",
                                           ".path",    ".slice",     ".scope"};
  constexpr std::string_view others = ":-_.\\@";
  bool good = !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
  });
  if (!good) return "";
  bool whole = std::any_of(std::begin(suffixes), std::end(suffixes), [&](std::string_view suffix) {
    return name.size() > suffix.size() && name.ends_with(suffix);
  });
  auto found = std::string(name) + (whole ? "" : ".service");
  // A template without an instance is a file, not a unit.
  auto at = found.find('@');
  if (at == 0 || (at != std::string::npos && found[at + 1] == '.' && found.rfind('.') == at + 1))
    return "";
  return found.size() > 255 ? "" : found;
}

std::string type_interface(std::string_view unit) {
  constexpr std::string_view kinds[] = {"service", "socket", "mount", "swap",
                                        "timer",   "path",   "scope", "automount"};
  auto kind = unit.substr(unit.rfind('.') + 1);
  if (std::find(std::begin(kinds), std::end(kinds), kind) == std::end(kinds)) return "";
  std::string name(kind);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return "org.freedesktop.systemd1." + name;
}

}  // namespace attest::agent
