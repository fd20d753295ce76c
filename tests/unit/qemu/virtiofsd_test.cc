// How the two programs that are called virtiofsd are told apart and called.
#include "backends/qemu/virtiofsd.h"

#include "lib/base/file.h"
#include "lib/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest {
namespace {

struct DaemonCase {
  const char* name;
  bool is_c, writable, root;
  const char* command;
};
class Virtiofsd : public testing::TestWithParam<DaemonCase> {};

TEST_P(Virtiofsd, IsCalledInItsOwnWay) {
  auto& row = GetParam();
  auto words = qemu::virtiofsd_command({.program = "virtiofsd",
                                        .is_c = row.is_c,
                                        .directory = "/a,b",
                                        .writable = row.writable,
                                        .root = row.root});
  for (auto& word : words)
    if (word.find('\n') != word.npos) word = "SCRIPT";
  EXPECT_EQ(base::join(words, " "), row.command);
}

INSTANTIATE_TEST_SUITE_P(
    , Virtiofsd,
    testing::Values(
        DaemonCase{"in_c", true, true, true,
                   "virtiofsd -f --fd=3 -o source=/a\\,b -o sandbox=chroot -o log_level=err "
                   "--rlimit-nofile=0"},
        DaemonCase{"in_c_for_a_user", true, true, false,
                   "unshare --mount --map-root-user virtiofsd -f --fd=3 -o source=/a\\,b -o "
                   "sandbox=chroot -o log_level=err --rlimit-nofile=0"},
        DaemonCase{"in_rust", false, true, true,
                   "virtiofsd --fd=3 --shared-dir /a,b --sandbox chroot --log-level error "
                   "--rlimit-nofile=0"},
        DaemonCase{"read_only", false, false, true,
                   "unshare --mount sh -c SCRIPT virtiofsd /a,b virtiofsd --fd=3 --shared-dir /a,b "
                   "--sandbox chroot --log-level error --rlimit-nofile=0"}),
    [](const auto& row) { return row.param.name; });

TEST(VirtiofsdVersion, TellsTheTwoApart) {
  EXPECT_TRUE(qemu::is_c_virtiofsd(
      "virtiofsd version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n"
      "Copyright (c) 2003-2022 Fabrice Bellard and the QEMU Project developers\n"));
  EXPECT_FALSE(qemu::is_c_virtiofsd("virtiofsd 1.13.0\n"));
}

}  // namespace
}  // namespace attest
