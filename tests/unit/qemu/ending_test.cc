#include "backends/qemu/ending.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest::qemu {
namespace {

struct EndingCase {
  const char* name;
  Ending ending;
  bool orderly;
  const char* cause;
};
class EndingInWords : public testing::TestWithParam<EndingCase> {};

TEST_P(EndingInWords, SaysHowAndWhy) {
  Gone gone = explain(GetParam().ending);
  EXPECT_EQ(gone.orderly, GetParam().orderly);
  EXPECT_EQ(gone.cause, GetParam().cause);
}

proto::QmpShutdown told(const char* reason) { return {.guest = true, .reason = reason}; }

INSTANTIATE_TEST_SUITE_P(
    , EndingInWords,
    testing::Values(
        EndingCase{
            "powered_off", {.shutdown = told("guest-shutdown")}, true, "the guest powered off"},
        EndingCase{"rebooted",
                   {.shutdown = told("guest-reset")},
                   true,
                   "the guest rebooted, which ends it (allow_reboot is off)"},
        EndingCase{
            "panicked_and_reset",
            {.shutdown = told("guest-reset"), .fatal_line = "Kernel panic - not syncing: VFS"},
            false,
            "the guest gave up: 'Kernel panic - not syncing: VFS'"},
        EndingCase{
            "initrd_gave_up",
            {.shutdown = told("guest-shutdown"), .fatal_line = "attest-initrd: FATAL: no root"},
            false,
            "the guest gave up: 'attest-initrd: FATAL: no root'"},
        EndingCase{
            "pvpanic", {.shutdown = told("guest-panic")}, false, "the guest's kernel panicked"},
        EndingCase{"terminated",
                   {.shutdown = told("host-signal")},
                   false,
                   "QEMU was ended by a signal from outside"},
        EndingCase{
            "told_to_quit", {.shutdown = told("host-qmp-quit")}, false, "QEMU was told to quit"},
        EndingCase{"new_reason",
                   {.shutdown = told("cosmic-ray")},
                   false,
                   "QEMU ended the machine (cosmic-ray)"},
        EndingCase{
            "killed", {.status = {.signal = 9}}, false, "QEMU was killed by signal 9 (Killed)"},
        EndingCase{"killed_while_powering_off",
                   {.status = {.signal = 9}, .shutdown = told("guest-shutdown")},
                   false,
                   "QEMU was killed by signal 9 (Killed)"},
        EndingCase{"refused",
                   {.status = {.code = 1}, .output = "qemu: bad option\n"},
                   false,
                   "QEMU exited with code 1: qemu: bad option"},
        EndingCase{"silent", {}, false, "QEMU exited with code 0 without saying why"}),
    [](const auto& row) { return row.param.name; });

TEST(FatalLineTest, FindsAPanicInPieces) {
  FatalLine line;
  line.feed("[    1.0] Run /init as init process\r\n[    1.2] Kernel pa");
  EXPECT_EQ(line.text(), "");
  line.feed("nic - not syncing: Attempted to kill init!\r\n[    1.3] CPU: 0\r\n");
  EXPECT_EQ(line.text(), "Kernel panic - not syncing: Attempted to kill init!");
  line.feed("Kernel panic - not syncing: a second one\n");
  EXPECT_EQ(line.text(), "Kernel panic - not syncing: Attempted to kill init!");
  line.clear();
  EXPECT_EQ(line.text(), "");
}

TEST(FatalLineTest, StaysBoundedWithoutLineEnds) {
  FatalLine line;
  for (int i = 0; i < 1000; ++i) line.feed(std::string(10000, 'x'));
  line.feed("\nKernel panic - not syncing: after a flood\n");
  EXPECT_EQ(line.text(), "Kernel panic - not syncing: after a flood");
}

}  // namespace
}  // namespace attest::qemu
