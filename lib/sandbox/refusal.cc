#include "lib/sandbox/refusal.h"

#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <utility>
#include <vector>

namespace attest::sandbox {
namespace {

constexpr int cap_sys_admin = 21;

template <class Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  text = base::trim(text);
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

std::optional<long> setting(const char* path) {
  auto text = base::try_read_file(path);
  return text ? number<long>(*text) : std::nullopt;
}

std::string_view words(Step step) {
  switch (step) {
    case Step::make_namespaces:
      return "making namespaces";
    case Step::write_id_maps:
      return "writing the user namespace's id maps";
    case Step::make_mounts_private:
      return "making the mounts private";
    case Step::mount_proc:
      return "mounting a fresh /proc";
    case Step::raise_loopback:
      return "raising the loopback interface";
    case Step::start:
      return "starting the first process inside";
  }
  return "entering the sandbox";
}

Explanation full_quota(const HostFacts& facts) {
  const std::vector<std::pair<const char*, std::optional<long>>> quotas{
      {"user.max_user_namespaces", facts.max_user},
      {"user.max_net_namespaces", facts.max_net},
      {"user.max_mnt_namespaces", facts.max_mnt},
      {"user.max_pid_namespaces", facts.max_pid}};
  std::vector<std::string> all;
  for (const auto& [name, limit] : quotas) {
    if (limit == 0)
      return {std::string("the host allows no more namespaces: ") + name + " is 0",
              std::string("raise it: sysctl -w ") + name + "=10000"};
    if (limit) all.push_back(std::string(name) + "=" + std::to_string(*limit));
  }
  return {"the quota of namespaces is full (" + base::join(all, ", ") + ")",
          "end what holds namespaces (see 'lsns'), or raise the quota with sysctl -w"};
}

Explanation not_permitted(Refusal refusal, const HostFacts& facts, const std::string& plain) {
  if (facts.needs_user_namespace && facts.unprivileged_userns_clone == 0)
    return {
        "the host forbids user namespaces to ordinary users: "
        "kernel.unprivileged_userns_clone is 0",
        "sysctl -w kernel.unprivileged_userns_clone=1, or run as root"};
  // Ubuntu lets the namespace be made and takes the capabilities in it away; what fails is the
  // first step that needs one. A filter fails the making itself.
  bool filtered = facts.process.seccomp && refusal.step == Step::make_namespaces;
  if (facts.needs_user_namespace && facts.apparmor_restricts_userns == 1 && !filtered)
    return {
        "AppArmor restricts user namespaces of ordinary users: "
        "kernel.apparmor_restrict_unprivileged_userns is 1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give the test binary an "
        "AppArmor profile with the rule 'userns,', or run as root"};
  if (refusal.step == Step::mount_proc)
    return {"/proc is masked, as container runtimes do, so the kernel refuses a fresh one",
            "start the container with --security-opt systempaths=unconfined (docker), "
            "--security-opt unmask=ALL (podman), or --privileged"};
  if (facts.process.seccomp)
    return {"a seccomp filter, as container runtimes install, refuses " +
                std::string(words(refusal.step)),
            "start the container with --security-opt seccomp=unconfined, or --privileged"};
  return {plain, "run as root, or on a host (not in a chroot) that allows user namespaces"};
}

}  // namespace

ProcessStatus parse_status(std::string_view text) {
  ProcessStatus status;
  for (const auto& line : base::split(text, '\n')) {
    auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string_view key = std::string_view(line).substr(0, colon);
    std::string_view value = std::string_view(line).substr(colon + 1);
    if (key == "Threads") status.threads = number<int>(value).value_or(1);
    if (key == "TracerPid") status.tracer = number<int>(value).value_or(0);
    if (key == "Seccomp") status.seccomp = number<int>(value).value_or(0) != 0;
    if (key == "CapEff")
      status.sys_admin = (number<std::uint64_t>(value, 16).value_or(0) >> cap_sys_admin) & 1;
  }
  return status;
}

HostFacts read_host_facts() {
  HostFacts facts;
  facts.process = parse_status(base::try_read_file("/proc/self/status").value_or(""));
  facts.needs_user_namespace = ::geteuid() != 0 || !facts.process.sys_admin;
  facts.apparmor_restricts_userns =
      setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
  facts.unprivileged_userns_clone = setting("/proc/sys/kernel/unprivileged_userns_clone");
  facts.max_user = setting("/proc/sys/user/max_user_namespaces");
  facts.max_net = setting("/proc/sys/user/max_net_namespaces");
  facts.max_mnt = setting("/proc/sys/user/max_mnt_namespaces");
  facts.max_pid = setting("/proc/sys/user/max_pid_namespaces");
  return facts;
}

Explanation explain_refusal(Refusal refusal, const HostFacts& facts) {
  std::string plain = base::sys_error(std::string(words(refusal.step)), refusal.code).what();
  switch (refusal.code) {
    case EINVAL:
      if (facts.process.threads > 1)
        return {std::to_string(facts.process.threads) + " threads are running already",
                "enter the sandbox first thing in main, before anything starts a thread"};
      return {plain, "use a kernel with user, pid, net and mount namespaces"};
    case ENOSPC:
    case EUSERS:  // nested deeper than 32 user namespaces, before 4.9
      return full_quota(facts);
    case ENOSYS:
      return {plain,
              "the kernel or a container's seccomp filter does not know the call; start the "
              "container with --security-opt seccomp=unconfined"};
    case EPERM:
    case EACCES:
      return not_permitted(refusal, facts, plain);
    default:
      return {plain, "run with --attest_doctor to see what this host offers"};
  }
}

}  // namespace attest::sandbox
