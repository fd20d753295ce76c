#include "attest/sandbox.h"

#include "attest/error.h"
#include "lib/base/sys_error.h"
#include "lib/sandbox/door_socket.h"
#include "lib/sandbox/doorman.h"
#include "lib/sandbox/id_range.h"
#include "lib/sandbox/namespaces.h"
#include "lib/sandbox/outside.h"
#include "lib/sandbox/reaper.h"
#include "lib/sandbox/refusal.h"
#include "lib/sandbox/signals.h"
#include "lib/sandbox/work_dir.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <mutex>
#include <optional>

namespace attest {
namespace {

using namespace sandbox;

// What Sandbox::keep points to.
struct Kept {
  explicit Kept(base::Fd door) : doorman(std::move(door)) {}
  Doorman doorman;
  std::optional<LockedDir> dir;
};

std::vector<std::string> dir_parents() {
  const char* tmpdir = std::getenv("TMPDIR");
  return locked_dir_parents(tmpdir ? tmpdir : "");
}

// The sandbox of this process without its `keep`, which is the caller's.
struct Entered {
  std::mutex mutex;
  Sandbox sandbox;
  std::weak_ptr<void> keep;
};
Entered& entered() {
  static Entered one;
  return one;
}

// Inside the final process. The door is empty where the host's network is ours anyway.
Sandbox settle(SandboxLevel level, base::Fd door, std::string sentence,
               std::string why_no_range = "there is no sandbox, and this is not root") {
  Sandbox sandbox;
  sandbox.id_range = has_range();
  if (!sandbox.id_range) sandbox.why_no_id_range = std::move(why_no_range);
  auto kept = std::make_shared<Kept>(std::move(door));
  if (level != SandboxLevel::none) sandbox.work_dir = mount_tmpfs(tmpfs_places());
  if (sandbox.work_dir.empty()) sandbox.work_dir = kept->dir.emplace(dir_parents()).path();
  sandbox.level = level;
  sandbox.sentence = std::move(sentence);
  sandbox.doorman = &kept->doorman;
  {
    std::lock_guard hold(entered().mutex);
    entered().sandbox = sandbox;
    entered().keep = kept;
  }
  sandbox.keep = std::move(kept);
  return sandbox;
}

// Pid 1 of the new namespaces. Returns in its child only, which is to run the tests.
void become_tests(NamespacePlan plan, base::Fd control) {
  die_with_parent();
  // Until the maps are written from outside nobody here is anybody.
  char go;
  if (plan.mapped && ::recv(control.get(), &go, 1, 0) != 1) ::_exit(1);
  // getppid() is 0 for a parent outside, dead or alive; its end of the control socket is not.
  // A report to a dead parent fails, and so does the reaper's first look at the socket.
  if (auto refusal = furnish(plan)) {
    send_report(control.get(), {Report::Kind::refused, refusal->step, refusal->code});
    ::_exit(1);
  }
  pid_t tests = ::fork();
  if (tests < 0) {
    send_report(control.get(), {Report::Kind::refused, Step::start, errno});
    ::_exit(1);
  }
  if (tests > 0) {
    send_report(control.get(), {Report::Kind::ready});
    reap(tests, std::move(control));
  }
  die_with_parent();
  if (::getppid() != 1) ::_exit(1);
}

// Forks. Returns a refusal in the calling process, or, in the tests' process, nothing.
// A range that cannot be mapped is given up: maps are written once, so all is made anew.
std::optional<Refusal> enter_full(NamespacePlan plan, IdRange& range, base::Fd& door) {
  plan.mapped = plan.user && range.why_not.empty();
  auto [control, control_inside] = packet_pair();
  auto [door_outside, door_inside] = packet_pair();
  HeldSignals held;
  // A process that changed its ids is not "dumpable", and newuidmap takes its child for root's.
  if (plan.mapped) ::prctl(PR_SET_DUMPABLE, 1);
  pid_t reaper = clone_into(plan);
  if (reaper < 0) {
    Refusal refusal{Step::make_namespaces, errno};
    held.restore();
    return refusal;
  }
  if (reaper == 0) {
    control.reset();
    door_outside.reset();
    try {
      become_tests(plan, std::move(control_inside));
    } catch (...) {
      ::_exit(1);  // not in the tests yet; the outside sees that no report came
    }
    held.restore();
    door = std::move(door_inside);
    return std::nullopt;
  }
  control_inside.reset();
  door_inside.reset();
  if (plan.mapped) {
    range.why_not = map_range(range, reaper, plan.uid, plan.gid);
    if (!range.why_not.empty()) {
      ::kill(reaper, SIGKILL);
      ::waitpid(reaper, nullptr, 0);
      held.restore();
      return enter_full(plan, range, door);
    }
    send_packet(control.get(), "+");
  }
  auto report = receive_report(control.get());
  if (report && report->kind == Report::Kind::ready)
    stay_outside(std::move(control), std::move(door_outside), reaper);
  int status = 0;
  ::waitpid(reaper, &status, 0);
  // Somebody wants the run to end; going on with a weaker sandbox would not be that.
  if (!report && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) end_like(status);
  held.restore();
  return report ? Refusal{report->step, report->value} : Refusal{Step::start, ECHILD};
}

// Whether this process could move into the namespaces, tried in a child: a process that has
// moved halfway cannot go back.
std::optional<Refusal> try_move(const NamespacePlan& plan) {
  auto [ours, theirs] = packet_pair();
  HeldSignals held;
  pid_t child = ::fork();
  if (child == 0) {
    ours.reset();
    auto refusal = move_into(plan);
    if (refusal)
      send_report(theirs.get(), {Report::Kind::refused, refusal->step, refusal->code});
    else
      send_report(theirs.get(), {Report::Kind::ready});
    ::_exit(0);
  }
  Refusal refusal{Step::start, child < 0 ? errno : ECHILD};
  theirs.reset();
  auto report = child < 0 ? std::nullopt : receive_report(ours.get());
  if (child > 0) ::waitpid(child, nullptr, 0);
  held.restore();
  if (!report) return refusal;
  if (report->kind == Report::Kind::ready) return std::nullopt;
  return Refusal{report->step, report->value};
}

// Moves this process itself, with the doorman as its child.
std::optional<Refusal> enter_in_place(NamespacePlan plan, base::Fd& door) {
  plan.pid = false;
  if (auto refusal = try_move(plan)) return refusal;
  auto [door_outside, door_inside] = packet_pair();
  HeldSignals held;
  pid_t tests = ::getpid();
  pid_t doorman = ::fork();
  if (doorman == 0) {
    die_with_parent();
    if (::getppid() != tests) ::_exit(0);
    door_inside.reset();
    stay_beside(std::move(door_outside));
  }
  held.restore();
  base::check(doorman, "forking the doorman");
  if (auto refusal = move_into(plan))
    throw base::sys_error("entering namespaces that could be entered a moment ago", refusal->code);
  door = std::move(door_inside);
  return std::nullopt;
}

// Threads of our own making; a thread sanitizer runs one in every process.
int own_threads(const HostFacts& facts) {
#ifdef __SANITIZE_THREAD__
  return facts.process.threads - 1;
#else
  return facts.process.threads;
#endif
}

std::string none_sentence(const std::string& why, const SandboxOptions& options) {
  return "no sandbox: " + why +
         (options.needs_network ? "; machines that need network interfaces on the host cannot run"
                                : "");
}

}  // namespace

std::optional<Sandbox> current_sandbox() {
  std::lock_guard hold(entered().mutex);
  Sandbox sandbox = entered().sandbox;
  sandbox.keep = entered().keep.lock();
  if (!sandbox.keep) return std::nullopt;
  return sandbox;
}

Sandbox enter_sandbox(SandboxOptions options) {
  sweep_locked_dirs(dir_parents());
  if (options.mode == SandboxMode::off)
    return settle(SandboxLevel::none, {}, none_sentence("switched off", options));

  HostFacts facts = read_host_facts();
  NamespacePlan plan{.user = facts.needs_user_namespace, .uid = ::geteuid(), .gid = ::getegid()};
  IdRange range;
  if (plan.user) range = look_for_range(plan.uid);
  const char* whose = plan.user ? " (in a user namespace of its own)" : "";
  base::Fd door;

  Explanation why{"a debugger is attached (pid " + std::to_string(facts.process.tracer) +
                      "), and breakpoints would be lost in another process",
                  "detach it, or let the sandbox be chosen automatically"};
  std::optional<Refusal> refusal;
  bool threaded = own_threads(facts) > 1;
  if (threaded)
    refusal = Refusal{Step::make_namespaces, EINVAL};
  else if (facts.process.tracer == 0)
    refusal = enter_full(plan, range, door);
  if (door)
    return settle(SandboxLevel::full, std::move(door),
                  std::string("full sandbox: network, mounts and processes of its own") + whose,
                  range.why_not);
  if (refusal) why = explain_refusal(*refusal, facts);
  if (options.mode == SandboxMode::require)
    throw Error(Error::Kind::host, "the full sandbox cannot be entered: " + why.cause)
        .hint(why.remedy);

  std::optional<Refusal> also = threaded ? refusal : enter_in_place(plan, door);
  std::string advice = facts.process.tracer ? "" : " (" + why.remedy + ")";
  if (!also)
    return settle(
        SandboxLevel::no_pid_namespace, std::move(door),
        std::string("sandbox without a pid namespace") + whose + ": " + why.cause + advice,
        range.why_not.empty() ? "without a pid namespace only the user's own id is mapped"
                              : range.why_not);
  if (facts.process.tracer) {
    why = explain_refusal(*also, facts);
    advice = " (" + why.remedy + ")";
  }
  return settle(SandboxLevel::none, {}, none_sentence(why.cause + advice, options));
}

}  // namespace attest
