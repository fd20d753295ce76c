// wait for=unit and for=job: systemd says over D-Bus what changes, and is asked for the rest then.
// Nothing is ever asked by the clock.
#include "guest/agent/files.h"
#include "guest/agent/systemd_link.h"
#include "guest/agent/unit_state.h"
#include "guest/agent/users.h"
#include "guest/agent/wait.h"

#include <algorithm>
#include <array>
#include <utility>

namespace attest::agent {
namespace {

constexpr std::string_view unit_interface = "org.freedesktop.systemd1.Unit";
constexpr std::string_view states[] = {"active",     "reloading",    "inactive",    "failed",
                                       "activating", "deactivating", "maintenance", "refreshing"};

std::string_view first_text(const dbus::Value* value) {
  if (!value) return "";
  return value->items.empty() ? std::string_view(value->text) : first_text(&value->items[0]);
}

class UnitWait : public Wait {
 public:
  UnitWait(const AgentFields& fields, Output& out, Loop& loop)
      : Wait(out, loop, ""),
        given_(fields.get("unit")),
        name_(unit_name(given_)),
        user_(fields.get("user")),
        wanted_(fields.get("state", "active")) {
    what_ = "unit \"" + (name_.empty() ? given_ : name_) + "\"";
    if (!user_.empty()) what_ += " of user '" + user_ + "'";
    if (wanted_ != "active") what_ += " to be " + wanted_;
  }

  void start() override {
    if (name_.empty()) return out_.error("usage", "'" + given_ + "' is no name of a unit");
    if (std::find(std::begin(states), std::end(states), wanted_) == std::end(states))
      return out_.error("usage", "'" + wanted_ + "' is no state of a unit");
    auto paths = BusPaths::system();
    if (!user_.empty()) {
      auto user = find_user(user_);
      if (!user) return out_.error("guest", "the guest has no user '" + user_ + "'");
      paths = BusPaths::user(user->uid);
    }
    if (!systemd_runs()) {
      return out_.error("unsupported",
                        "cannot wait for " + what_ + ": the guest does not run systemd");
    }
    link_ = std::make_unique<SystemdLink>(
        loop_, std::move(paths),
        SystemdLink::Callbacks{[this] { load(); },
                               [this](const dbus::Message& signal) { on_signal(signal); },
                               [this](const std::string& why) {
                                 ++round_;
                                 reading_ = false;
                                 state(why);
                               }});
  }

 private:
  void load() {
    path_.clear();
    link_->call(systemd_path, manager_interface, "LoadUnit", {name_},
                [this](const dbus::Message& answer) {
                  if (answer.type == dbus::Message::Type::error) return refused(answer);
                  path_ = answer.text(0);
                  read();
                });
  }

  void refused(const dbus::Message& answer) {
    bool bad_name = answer.error_name == "org.freedesktop.DBus.Error.InvalidArgs";
    out_.error(bad_name ? "usage" : "guest",
               "cannot wait for " + what_ + ": " + std::string(answer.text(0)));
  }

  // Reads what decides quickly first; all the rest only for a unit that is not up.
  void read() {
    if (path_.empty()) return;
    if (reading_) {
      dirty_ = true;
      return;
    }
    reading_ = true;
    dirty_ = false;
    ++round_;
    left_ = 0;
    facts_ = UnitFacts();
    facts_.job_result = job_result_;
    get(unit_interface, "Id", id_);
    get(unit_interface, "LoadState", facts_.load);
    get(unit_interface, "ActiveState", facts_.active);
    get(unit_interface, "SubState", facts_.sub);
    get(unit_interface, "Job", job_);
    then_ = [this] { read_rest(); };
  }

  void read_rest() {
    if (facts_.active.empty()) return decide();
    see(facts_.active);
    auto verdict = judge(name_, wanted_, facts_, "");
    if (verdict.what == UnitVerdict::What::holds) return holds(facts_.active);
    get(unit_interface, "ConditionResult", facts_.condition);
    get(unit_interface, "ConditionTimestamp", facts_.condition_at);
    get(unit_interface, "InactiveEnterTimestamp", facts_.inactive_at);
    get(manager_interface, "SystemState", system_state_);
    auto type = type_interface(name_);
    if (!type.empty()) get(type, "Result", facts_.result);
    if (name_.ends_with(".service")) {
      get(type, "Type", facts_.type);
      get(type, "RemainAfterExit", facts_.remains);
      get(type, "NRestarts", facts_.restarts);
      get(type, "ExecMainCode", facts_.exit_code);
      get(type, "ExecMainStatus", facts_.exit_status);
      get(type, "ExecMainExitTimestamp", facts_.exited_at);
    }
    then_ = [this] { decide(); };
  }

  void get(std::string_view interface, std::string_view property, std::string& to) {
    ++left_;
    auto path = interface == manager_interface ? systemd_path : std::string_view(path_);
    link_->get(path, interface, property, [this, &to, round = round_](auto* value) {
      if (round != round_) return;
      to = first_text(value);
      if (--left_ == 0) std::exchange(then_, nullptr)();
    });
  }

  void decide() {
    reading_ = false;
    facts_.job = !job_.empty() && job_ != "0";
    facts_.ran_meanwhile = ran_meanwhile_;
    // systemd has dropped the unit this moment; loading it brings it back.
    if (facts_.active.empty()) return in(std::chrono::milliseconds(20), [this] { load(); });
    auto verdict = judge(name_, wanted_, facts_, system_state_);
    switch (verdict.what) {
      case UnitVerdict::What::holds:
        return holds(facts_.active);
      case UnitVerdict::What::lost:
        return out_.error("guest", verdict.text);
      case UnitVerdict::What::look_again:
        // The properties were read one after the other: between two of them it may have begun.
        if (!dirty_ && std::exchange(looked_again_, true)) return out_.error("guest", verdict.text);
        return read();
      case UnitVerdict::What::goes_on:
        break;
    }
    looked_again_ = false;
    booting_ = system_state_ == "initializing";
    state(verdict.text);
    if (dirty_) read();
  }

  void holds(std::string_view active) { out_.done({{"state", active}}); }

  void see(std::string_view active) {
    if (active == "activating") was_activating_ = true;
  }

  void on_signal(const dbus::Message& signal) {
    if (signal.member == "PropertiesChanged" && signal.path == path_) return on_properties(signal);
    if (signal.interface != manager_interface) return;
    if (signal.member == "JobRemoved") {
      auto unit = signal.text(2), result = signal.text(3);
      bool special = unit == "emergency.target" || unit == "rescue.target";
      bool ours = unit == name_ || unit == id_;
      if (ours) {
        // Of a stop's job the "done" comes after the start's own "canceled".
        if (result == "done") ran_meanwhile_ = was_activating_;
        if (result != "done") was_activating_ = false;
        job_result_ = result;
      }
      // The end of being booted is a target's: basic.target's.
      if (ours || special || (booting_ && unit.ends_with(".target"))) read();
    } else if (signal.member == "JobNew") {
      // UnitNew is nothing to act on: reading an idle unit loads it, which is told by UnitNew.
      auto unit = signal.text(2);
      if (unit == name_ || unit == id_) read();
    } else if (signal.member == "StartupFinished" ||
               (signal.member == "Reloading" && signal.text(0) == "0")) {
      read();
    }
  }

  // A signal brings the values along. Reading them all, which keeps systemd busy for as long as a
  // quick service takes to start, is left for when the wait may be over.
  void on_properties(const dbus::Message& signal) {
    if (signal.body.size() < 2) return;
    auto& changed = signal.body[1];
    auto take = [&](std::string_view property, std::string& to) {
      if (auto* value = dbus::find(changed, property)) to = first_text(value);
    };
    if (signal.text(0) != unit_interface) {
      take("Result", facts_.result);
      take("NRestarts", facts_.restarts);
      return;
    }
    take("ActiveState", facts_.active);
    take("SubState", facts_.sub);
    see(facts_.active);
    UnitFacts seen;
    seen.active = facts_.active;
    // The signal is the proof, however short it lasts.
    if (judge(name_, wanted_, seen, "").what == UnitVerdict::What::holds)
      return holds(facts_.active);
    bool moving = facts_.active == "activating" || facts_.active == "deactivating";
    if (!moving || reading_) return read();
    state(describe(facts_));
  }

  std::string given_, name_, user_, wanted_;
  std::unique_ptr<SystemdLink> link_;
  std::string path_, id_, job_, system_state_, job_result_;
  UnitFacts facts_;
  std::function<void()> then_;
  unsigned round_ = 0, left_ = 0;
  bool reading_ = false, dirty_ = false, looked_again_ = false, booting_ = false;
  bool was_activating_ = false, ran_meanwhile_ = false;
};

class JobWait : public Wait {
 public:
  JobWait(const AgentFields& fields, Output& out, Loop& loop)
      : Wait(out, loop, "job '" + std::string(fields.get("path")) + "'"),
        path_(fields.get("path")) {}

  void start() override {
    if (!path_.starts_with("/org/freedesktop/systemd1/job/"))
      return out_.error("usage", "'" + path_ + "' is no path of a job");
    if (!systemd_runs())
      return out_.error("unsupported", "cannot wait for " + what_ + ": the guest runs no systemd");
    link_ = std::make_unique<SystemdLink>(
        loop_, BusPaths::system(),
        SystemdLink::Callbacks{[this] { read(); },
                               [this](const dbus::Message& signal) { on_signal(signal); },
                               [this](const std::string& why) { state(why); }});
  }

 private:
  void read() {
    link_->get(path_, "org.freedesktop.systemd1.Job", "State", [this](auto* value) {
      // Over already; how it ended, nobody knows any more.
      if (!value) return out_.done({{"result", ""}});
      state(value->text);
    });
  }
  void on_signal(const dbus::Message& signal) {
    if (signal.interface != manager_interface || signal.member != "JobRemoved") return;
    if (signal.text(1) == path_) out_.done({{"unit", signal.text(2)}, {"result", signal.text(3)}});
  }

  std::string path_;
  std::unique_ptr<SystemdLink> link_;
};

}  // namespace

std::unique_ptr<Operation> make_unit_wait(const AgentFields& fields, Output& out,
                                          Services services) {
  return std::make_unique<UnitWait>(fields, out, services.loop);
}

std::unique_ptr<Operation> make_job_wait(const AgentFields& fields, Output& out,
                                         Services services) {
  return std::make_unique<JobWait>(fields, out, services.loop);
}

}  // namespace attest::agent
