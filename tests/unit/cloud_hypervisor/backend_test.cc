// The backend around a monitor's life, with fake_monitor.py in Cloud Hypervisor's place: starts,
// ends, what is sent in which order, and what is left. Guests are the contract suite's matter.
#include "fake_machine.h"

#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

namespace attest::cloud_hypervisor {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class CloudHypervisorLife : public FakeMachine {
 protected:
  void boot() { EXPECT_EQ(greeting(wait(backend().boot(soon()))), agent_greeting); }
  Gone gone() { return wait(backend().wait_gone(soon())); }
};

TEST_F(CloudHypervisorLife, BootsInOrderAndPowersOff) {
  add_nic();
  boot();
  EXPECT_THAT(requests(), ElementsAre("GET /api/v1/vmm.ping", "PUT /api/v1/vm.create",
                                      "PUT /api/v1/vm.add-net with 1", "PUT /api/v1/vm.boot"));
  wait_for_console("boot 1");
  wait(backend().shutdown(soon()));
  auto end = gone();
  EXPECT_TRUE(end.orderly) << end.cause;
  EXPECT_EQ(end.cause, "the guest powered off");
  EXPECT_THAT(requests(), Contains("PUT /api/v1/vm.power-button"));
}

TEST_F(CloudHypervisorLife, GivesTapsByNameWhereThatIsWanted) {
  config_.cloud_hypervisor.tap = "name";
  config_.cloud_hypervisor.serial = "file";
  add_nic();
  boot();
  EXPECT_THAT(requests(), Contains("PUT /api/v1/vm.add-net"));
  wait_for_console("boot 1");
}

TEST_F(CloudHypervisorLife, BootsAgainAfterItsEnd) {
  boot();
  backend().kill();
  EXPECT_FALSE(gone().orderly);
  backend().kill();
  boot();
}

TEST_F(CloudHypervisorLife, ARefusalIsToldInTheMonitorsWordsAndNothingIsLeft) {
  note("refuse", "vm.boot\nError from API\nThe VM could not boot\nno such kernel");
  auto text = error(backend().boot(soon()));
  EXPECT_THAT(text, AllOf(HasSubstr("Cloud Hypervisor refused 'PUT /api/v1/vm.boot'"),
                          HasSubstr("Error from API: The VM could not boot: no such kernel")));
  EXPECT_FALSE(monitor_lives());
  EXPECT_FALSE(std::filesystem::exists(work("api.sock")));
}

TEST_F(CloudHypervisorLife, AnEndOfTheMonitorQuotesIt) {
  boot();
  order("exit 1");
  auto end = gone();
  EXPECT_FALSE(end.orderly);
  EXPECT_THAT(end.cause, AllOf(HasSubstr("Cloud Hypervisor exited with code 1"),
                               HasSubstr("Error: the end of everything")));
}

TEST_F(CloudHypervisorLife, ARestartInPlaceIsTheEndUnlessItIsAllowed) {
  boot();
  order("reboot");
  auto end = gone();
  EXPECT_TRUE(end.orderly);
  EXPECT_THAT(end.cause, HasSubstr("the guest rebooted"));
}

TEST_F(CloudHypervisorLife, ARestartThatIsAllowedGreetsAgainOnTheSameStream) {
  config_.allow_reboot = true;
  for (const char* serial : {"socket", "file"}) {
    config_.cloud_hypervisor.serial = serial;
    make_anew();
    auto stream = wait(backend().boot(soon()));
    EXPECT_EQ(greeting_of(*stream), agent_greeting);
    order("reboot");
    EXPECT_EQ(greeting_of(*stream), agent_greeting);
    wait_for_console("boot 2");
    EXPECT_TRUE(monitor_lives());
    close(std::move(stream));
  }
}

TEST_F(CloudHypervisorLife, APanicIsTheEndByItsEvent) {
  config_.allow_reboot = true;
  boot();
  order("event guest panic");
  auto end = gone();
  EXPECT_FALSE(end.orderly);
  EXPECT_EQ(end.cause, "the guest's kernel panicked");
}

TEST_F(CloudHypervisorLife, APanicOnTheConsoleIsTheEndInItsWords) {
  boot();
  order("say [ 1.5] Kernel panic - not syncing: Attempted to kill init!");
  auto end = gone();
  EXPECT_FALSE(end.orderly);
  EXPECT_THAT(end.cause, HasSubstr("Attempted to kill init!"));
}

TEST_F(CloudHypervisorLife, AGuestThatHaltsLeavesNoMonitor) {
  boot();
  order("say [ 2.0] reboot: System halted");
  EXPECT_TRUE(gone().orderly);
  EXPECT_THAT(requests(), Contains("PUT /api/v1/vmm.shutdown"));
}

TEST_F(CloudHypervisorLife, EventsThatAreNoneEndIt) {
  boot();
  order("garbage");
  EXPECT_THAT(gone().cause, HasSubstr("what?"));
}

TEST_F(CloudHypervisorLife, AGuestDeafToTheButtonIsATimeoutAndStaysThere) {
  boot();
  note("deaf", "");
  auto text = error(backend().shutdown(Deadline::after(300ms)));
  EXPECT_THAT(text, AllOf(HasSubstr("powering off machine 'web'"), HasSubstr("power button")));
  EXPECT_TRUE(monitor_lives());
}

TEST_F(CloudHypervisorLife, WithoutTheAgentAShellIsDialled) {
  config_.cloud_hypervisor.agent = false;
  EXPECT_EQ(greeting(wait(backend().boot(soon()))), "Spawning backdoor root shell...");
  EXPECT_EQ(greeting(wait(backend().stream_opener()->open_shell(soon()))),
            "Spawning backdoor root shell...");
}

TEST_F(CloudHypervisorLife, RefusesAVersionThatIsTooOld) {
  set_version("45.0");
  EXPECT_THAT(error(backend().boot(soon())),
              AllOf(HasSubstr("46.0 or later"), HasSubstr("45.0.0")));
}

TEST_F(CloudHypervisorLife, ResizesWithinTheConfig) {
  config_.cloud_hypervisor.max_vcpus = 2;
  boot();
  wait(backend().resizer()->resize(2, {}, soon()));
  EXPECT_THAT(requests(), Contains("PUT /api/v1/vm.resize"));
  EXPECT_THAT(error(backend().resizer()->resize(3, {}, soon())), HasSubstr("1 to 2"));
}

}  // namespace
}  // namespace attest::cloud_hypervisor
