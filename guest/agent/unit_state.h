// What a systemd unit's properties mean to somebody who waits for it. Pure.
#pragma once
#include <string>
#include <string_view>

namespace attest::agent {

/// A unit's properties as read over D-Bus; numbers and booleans are their text.
struct UnitFacts {
  std::string active;          ///< ActiveState: active, inactive, activating, failed, ...
  std::string sub;             ///< SubState: running, exited, auto-restart, ...
  std::string load;            ///< LoadState: loaded, not-found, masked, bad-setting, ...
  bool job = false;            ///< something is queued or running for it
  std::string condition;       ///< ConditionResult, "0" if its conditions were not met
  std::string condition_at;    ///< ConditionTimestamp, "0" if they were not looked at
  std::string inactive_at;     ///< InactiveEnterTimestamp, "0" if it was never active
  std::string type;            ///< Type of a service
  std::string remains;         ///< RemainAfterExit
  std::string result;          ///< Result: success, exit-code, timeout, ...
  std::string restarts;        ///< NRestarts
  std::string exit_code;       ///< ExecMainCode: 1 exited, 2 killed, 3 dumped
  std::string exit_status;     ///< ExecMainStatus
  std::string exited_at;       ///< ExecMainExitTimestamp, "0" if it never ran to an end
  std::string job_result;      ///< of the job that ended last while somebody waited
  bool ran_meanwhile = false;  ///< it was seen activating, then a job of it ended with "done"
};

/// What to do about a wait.
struct UnitVerdict {
  enum class What {
    holds,       ///< it is as wanted
    goes_on,     ///< it may still become so; `text` says how it stands
    look_again,  ///< it cannot come true, if it is still so when everything is read once more
    lost         ///< it cannot come true; `text` says why
  };
  What what = What::goes_on;
  std::string text;
};

/// `wanted` is an ActiveState; for "active" a oneshot service that ran to its end with success
/// holds, too. `system_state` is the manager's SystemState.
UnitVerdict judge(std::string_view unit, std::string_view wanted, const UnitFacts& facts,
                  std::string_view system_state);
/// "activating (auto-restart), restarted 3 times, last result exit-code".
std::string describe(const UnitFacts& facts);

/// The name as systemctl takes it: "nginx" is nginx.service. "" if it is none, or a pattern.
std::string unit_name(std::string_view name);
/// The interface of the unit's own type: "org.freedesktop.systemd1.Service"; "" if it has no
/// Result.
std::string type_interface(std::string_view unit);

}  // namespace attest::agent
