// Units and the journal, where the guest has systemd.
#include "contract.h"

namespace attest {
namespace {
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Systemd : public Contract {};
INSTANTIATE_TEST_SUITE_P(, Systemd, attest::backends("nspawn", "qemu", "ssh"),
                         attest::BackendName());

TEST_P(Systemd, TellsAboutAUnit) {
  auto info = alpha().get_unit_info("systemd-journald.service");
  EXPECT_EQ(info["ActiveState"], "active");
  EXPECT_EQ(info["LoadState"], "loaded");
  EXPECT_EQ(alpha().get_unit_property("systemd-journald.service", "SubState"), "running");
  EXPECT_EQ(alpha().get_unit_info("no-such.service")["LoadState"], "not-found");
}

TEST_P(Systemd, AnUnknownPropertyIsAnError) {
  auto text = error_of(Error::Kind::guest, [&] {
    alpha().get_unit_property("systemd-journald.service", "NoSuchThing");
  });
  EXPECT_THAT(text, HasSubstr("retrieving systemctl property 'NoSuchThing' for unit "
                              "'systemd-journald.service' failed"));
}

TEST_P(Systemd, RequiresAStateWithoutWaiting) {
  alpha().require_unit_state("systemd-journald.service");
  auto text = error_of(Error::Kind::guest,
                       [&] { alpha().require_unit_state("systemd-journald.service", "failed"); });
  EXPECT_THAT(text, AllOf(HasSubstr("expected unit 'systemd-journald.service' to be in state "
                                    "'failed' but it is in state 'active'"),
                          Not(HasSubstr("to to"))));
  EXPECT_THAT(alpha(), UnitIs("systemd-journald.service", "active"));
}

TEST_P(Systemd, StartsAndStopsJobs) {
  alpha().write_file("/run/systemd/system/nap.service",
                     "[Service]\nExecStart=/bin/sh -c 'echo napping; exec sleep 600'\n");
  EXPECT_EQ(alpha().systemctl("daemon-reload").exit_code, 0);
  EXPECT_EQ(alpha().start_job("nap.service").exit_code, 0);
  alpha().wait_for_unit("nap.service");
  EXPECT_EQ(alpha().stop_job("nap.service").exit_code, 0);
  alpha().require_unit_state("nap.service", "inactive");
  EXPECT_NE(alpha().start_job("no-such.service").exit_code, 0);
}

TEST_P(Systemd, TheJournalIsReadAndFollowed) {
  auto follow = alpha().journal_follow({.lines = 1});
  alpha().succeed("echo a word in the journal | systemd-cat -t contract");
  EXPECT_THAT(alpha().journal({.lines = 50}), HasSubstr("a word in the journal"));
  while (auto line = follow.read_line({.timeout = 60s}))
    if (line->find("a word in the journal") != line->npos) return;
  ADD_FAILURE() << "the line did not come";
}

TEST_P(Systemd, AFailedUnitEndsTheWaitAtOnce) {
  // A simple one would be active for a moment.
  alpha().write_file("/run/systemd/system/broken.service",
                     "[Service]\nType=oneshot\nExecStart=/bin/false\n");
  alpha().systemctl("daemon-reload");
  alpha().systemctl("start --no-block broken.service");
  auto text = error_of(Error::Kind::guest, [&] { alpha().wait_for_unit("broken.service"); });
  EXPECT_THAT(text, HasSubstr("broken.service"));
}

}  // namespace
}  // namespace attest
