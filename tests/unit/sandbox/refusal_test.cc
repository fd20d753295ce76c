#include "lib/sandbox/refusal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace attest::sandbox {
namespace {

using ::testing::HasSubstr;

struct RefusalCase {
  const char* name;
  Refusal refusal;
  HostFacts facts;
  const char* cause;
  const char* remedy;
};
class ExplainRefusal : public ::testing::TestWithParam<RefusalCase> {};

TEST_P(ExplainRefusal, NamesTheCauseAndTheRemedy) {
  auto explanation = explain_refusal(GetParam().refusal, GetParam().facts);
  EXPECT_THAT(explanation.cause, HasSubstr(GetParam().cause));
  EXPECT_THAT(explanation.remedy, HasSubstr(GetParam().remedy));
  EXPECT_EQ(explanation.cause.find('\n'), std::string::npos);
  EXPECT_EQ(explanation.remedy.find('\n'), std::string::npos);
}

const HostFacts plain{};
const HostFacts root{.needs_user_namespace = false};
const HostFacts threaded{.process = {.threads = 3}};
const HostFacts filtered{.process = {.seccomp = true}};
const HostFacts ubuntu{.apparmor_restricts_userns = 1};
const HostFacts ubuntu_root{.needs_user_namespace = false, .apparmor_restricts_userns = 1};
const HostFacts ubuntu_filtered{.process = {.seccomp = true}, .apparmor_restricts_userns = 1};
const HostFacts debian_off{.unprivileged_userns_clone = 0};
const HostFacts no_net{.max_user = 100, .max_net = 0, .max_mnt = 100, .max_pid = 100};
const HostFacts small{.max_user = 10, .max_net = 20, .max_mnt = 30, .max_pid = 40};

INSTANTIATE_TEST_SUITE_P(
    , ExplainRefusal,
    ::testing::Values(
        RefusalCase{"apparmor_at_the_id_maps",
                    {Step::write_id_maps, EPERM},
                    ubuntu,
                    "AppArmor restricts user namespaces",
                    "apparmor_restrict_unprivileged_userns=0"},
        RefusalCase{"apparmor_at_the_mounts",
                    {Step::make_mounts_private, EACCES},
                    ubuntu,
                    "AppArmor restricts user namespaces",
                    "'userns,'"},
        RefusalCase{"apparmor_at_the_making",
                    {Step::make_namespaces, EACCES},
                    ubuntu,
                    "AppArmor restricts user namespaces",
                    "run as root"},
        RefusalCase{"apparmor_with_a_filter_at_the_mounts",
                    {Step::mount_proc, EPERM},
                    ubuntu_filtered,
                    "AppArmor restricts user namespaces",
                    "run as root"},
        RefusalCase{"filter_with_apparmor_at_the_making",
                    {Step::make_namespaces, EPERM},
                    ubuntu_filtered,
                    "seccomp filter",
                    "seccomp=unconfined"},
        RefusalCase{"apparmor_does_not_concern_root",
                    {Step::make_namespaces, EPERM},
                    ubuntu_root,
                    "Operation not permitted (errno 1)",
                    "chroot"},
        RefusalCase{"userns_clone_off",
                    {Step::make_namespaces, EPERM},
                    debian_off,
                    "kernel.unprivileged_userns_clone is 0",
                    "unprivileged_userns_clone=1"},
        RefusalCase{"quota_of_zero",
                    {Step::make_namespaces, ENOSPC},
                    no_net,
                    "user.max_net_namespaces is 0",
                    "sysctl -w user.max_net_namespaces="},
        RefusalCase{"quota_full",
                    {Step::make_namespaces, ENOSPC},
                    small,
                    "quota of namespaces is full (user.max_user_namespaces=10, "
                    "user.max_net_namespaces=20",
                    "lsns"},
        RefusalCase{"nested_too_deep", {Step::make_namespaces, EUSERS}, small, "quota", "lsns"},
        RefusalCase{"seccomp",
                    {Step::make_namespaces, EPERM},
                    filtered,
                    "seccomp filter, as container runtimes install, refuses making namespaces",
                    "--security-opt seccomp=unconfined"},
        RefusalCase{"seccomp_at_a_mount",
                    {Step::make_mounts_private, EPERM},
                    filtered,
                    "refuses making the mounts private",
                    "--privileged"},
        RefusalCase{"call_unknown",
                    {Step::make_namespaces, ENOSYS},
                    filtered,
                    "Function not implemented",
                    "seccomp=unconfined"},
        RefusalCase{"threads",
                    {Step::make_namespaces, EINVAL},
                    threaded,
                    "3 threads are running",
                    "first thing in main"},
        RefusalCase{"kernel_without_namespaces",
                    {Step::make_namespaces, EINVAL},
                    plain,
                    "Invalid argument",
                    "use a kernel with"},
        RefusalCase{"masked_proc",
                    {Step::mount_proc, EPERM},
                    plain,
                    "/proc is masked",
                    "systempaths=unconfined"},
        RefusalCase{"masked_proc_in_a_container",
                    {Step::mount_proc, EPERM},
                    filtered,
                    "/proc is masked",
                    "unmask=ALL"},
        RefusalCase{"no_permission_at_all",
                    {Step::make_namespaces, EPERM},
                    plain,
                    "making namespaces: Operation not permitted",
                    "run as root"},
        RefusalCase{"anything_else",
                    {Step::raise_loopback, ENODEV},
                    root,
                    "raising the loopback interface: No such device (errno 19)",
                    "--attest_doctor"}),
    [](const auto& row) { return row.param.name; });

TEST(ParseStatus, TakesWhatMatters) {
  auto status = parse_status(
      "Name:\ttest\nTracerPid:\t4711\nThreads:\t12\nCapEff:\t0000000000200000\nSeccomp:\t2\n");
  EXPECT_EQ(status.tracer, 4711);
  EXPECT_EQ(status.threads, 12);
  EXPECT_TRUE(status.sys_admin);
  EXPECT_TRUE(status.seccomp);
}

TEST(ParseStatus, KeepsDefaultsForWhatIsMissingOrStrange) {
  auto status = parse_status("garbage\nThreads:\tmany\nCapEff:\tffffffffffdfffff\nSeccomp:");
  EXPECT_EQ(status.tracer, 0);
  EXPECT_EQ(status.threads, 1);
  EXPECT_FALSE(status.sys_admin);
  EXPECT_FALSE(status.seccomp);
}

TEST(ReadHostFacts, SeesThisProcess) {
  auto facts = read_host_facts();
  EXPECT_EQ(facts.process.threads, 1);
  EXPECT_EQ(facts.process.tracer, 0);
}

}  // namespace
}  // namespace attest::sandbox
