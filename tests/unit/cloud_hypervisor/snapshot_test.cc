// Saving and restoring with fake_monitor.py in Cloud Hypervisor's place: the order of requests, the
// files, what is each clone's own.
#include "fake_machine.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace attest::cloud_hypervisor {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

class CloudHypervisorSnapshot : public FakeMachine {
 protected:
  CloudHypervisorSnapshot() {
    fs::create_directory(file("snap"));
    config_.disks = {{.size_mb = 1}};
  }
  Snapshotter& snapshotter() { return *backend().snapshotter(); }
  std::unique_ptr<Stream> boot() {
    auto stream = wait(backend().boot(soon()));
    EXPECT_EQ(greeting_of(*stream), agent_greeting);
    return stream;
  }
  std::vector<std::string> saved_files() {
    std::vector<std::string> names;
    for (auto& entry : fs::directory_iterator(file("snap")))
      names.push_back(entry.path().filename());
    return names;
  }
  void save() {
    auto stream = boot();
    base::write_file(work("disk0.raw"), "what the guest wrote");
    auto next = wait(snapshotter().save(file("snap"), soon()));
    EXPECT_EQ(greeting_of(*next), agent_greeting);
    close(std::move(stream));
    close(std::move(next));
  }
};

TEST_F(CloudHypervisorSnapshot, SavesWhileTheGuestStandsStillAndGoesOn) {
  save();
  EXPECT_THAT(requests(), IsSupersetOf({"PUT /api/v1/vm.pause", "PUT /api/v1/vm.snapshot",
                                        "PUT /api/v1/vm.resume"}));
  EXPECT_THAT(saved_files(), testing::UnorderedElementsAre("config.json", "state.json",
                                                           "memory-ranges", "disk0.raw"));
  EXPECT_EQ(base::read_file(file("snap/disk0.raw")), "what the guest wrote");
  EXPECT_TRUE(monitor_lives());
}

TEST_F(CloudHypervisorSnapshot, WaitsWhileMemoryStillComesIn) {
  auto stream = boot();
  note("filling", "3");
  auto next = wait(snapshotter().save(file("snap"), soon()));
  EXPECT_EQ(std::ranges::count(requests(), "PUT /api/v1/vm.snapshot"), 4);
  close(std::move(stream));
  close(std::move(next));
}

TEST_F(CloudHypervisorSnapshot, AFailureLetsTheGuestGoOnWithItsConnection) {
  auto stream = boot();
  note("refuse", "vm.snapshot\nError from API\nno space left");
  EXPECT_THAT(error(snapshotter().save(file("snap"), soon())), HasSubstr("no space left"));
  EXPECT_EQ(requests().back(), "PUT /api/v1/vm.resume");
  EXPECT_TRUE(monitor_lives());
  close(std::move(stream));
}

TEST_F(CloudHypervisorSnapshot, RestoresClonesThatShareNothingButTheSnapshot) {
  add_nic();
  save();
  std::string before = base::read_file(file("snap/config.json"));
  for (auto& entry : fs::directory_iterator(file("snap")))
    fs::permissions(entry.path(), fs::perms::owner_read);
  fs::permissions(file("snap"), fs::perms::owner_read | fs::perms::owner_exec);
  auto first = file("work");
  for (const char* clone : {"one", "two"}) {
    work_ = file(clone);
    add_machine();
    auto stream = wait(snapshotter().restore(file("snap"), soon()));
    EXPECT_EQ(greeting_of(*stream), agent_greeting);
    EXPECT_THAT(requests(), ElementsAre("GET /api/v1/vmm.ping", "PUT /api/v1/vm.restore with 1",
                                        "PUT /api/v1/vm.resume"));
    EXPECT_EQ(base::read_file(work("disk0.raw")), "what the guest wrote");
    auto config = base::read_file(work("restored/config.json"));
    EXPECT_THAT(config, AllOf(HasSubstr(work("vsock")), HasSubstr(work("disk0.raw")),
                              HasSubstr(work("serial.sock")), Not(HasSubstr(first + "/"))));
    EXPECT_THAT(snapshotter().restore_spans().how, HasSubstr("memory "));
    base::write_file(work("disk0.raw"), clone);
    close(std::move(stream));
  }
  EXPECT_EQ(base::read_file(file("snap/config.json")), before);
  EXPECT_EQ(base::read_file(file("snap/disk0.raw")), "what the guest wrote");
  fs::permissions(file("snap"), fs::perms::owner_all);
}

TEST_F(CloudHypervisorSnapshot, ASavedCloneIsLikeAnyOther) {
  save();
  make_anew();
  auto stream = wait(snapshotter().restore(file("snap"), soon()));
  EXPECT_EQ(greeting_of(*stream), agent_greeting);
  fs::create_directory(file("second"));
  auto next = wait(snapshotter().save(file("second"), soon()));
  EXPECT_EQ(greeting_of(*next), agent_greeting);
  EXPECT_TRUE(fs::exists(file("second/disk0.raw")));
  close(std::move(stream));
  close(std::move(next));
}

TEST_F(CloudHypervisorSnapshot, AMachineWithAMemoryFileIsMapped) {
  config_.cloud_hypervisor.restore = "map";
  auto stream = boot();
  EXPECT_EQ(fs::file_size(work("memory")), 512u << 20);
  auto next = wait(snapshotter().save(file("snap"), soon()));
  EXPECT_EQ(fs::file_size(file("snap/memory")), 512u << 20);
  close(std::move(stream));
  close(std::move(next));
  make_anew();
  auto restored = wait(snapshotter().restore(file("snap"), soon()));
  EXPECT_EQ(snapshotter().restore_spans().how, "memory mapped");
  EXPECT_THAT(base::read_file(work("restored/config.json")), HasSubstr(file("snap/memory")));
  close(std::move(restored));
}

TEST_F(CloudHypervisorSnapshot, UnderLandlockTheMonitorWritesIntoItsWorkDirectory) {
  config_.cloud_hypervisor.landlock = true;
  save();
  EXPECT_THAT(saved_files(), testing::UnorderedElementsAre("config.json", "state.json",
                                                           "memory-ranges", "disk0.raw"));
  EXPECT_THAT(base::read_file(work("requests")), HasSubstr("file://" + work("saved")));
}

TEST_F(CloudHypervisorSnapshot, BeforeVersion52MemoryIsCopiedAndTheReasonTold) {
  set_version("46.0");
  save();
  make_anew();
  auto stream = wait(snapshotter().restore(file("snap"), soon()));
  EXPECT_THAT(snapshotter().restore_spans().how,
              AllOf(HasSubstr("memory copied"), HasSubstr("46.0.0")));
  EXPECT_THAT(base::read_file(work("requests")), Not(HasSubstr("memory_restore_mode")));
  close(std::move(stream));
}

TEST_F(CloudHypervisorSnapshot, RefusesWhatIsNoSnapshotAndLeavesNothing) {
  base::write_file(file("snap/disk0.raw"), "x");
  EXPECT_THAT(error(snapshotter().restore(file("snap"), soon())), HasSubstr("no config.json"));
  EXPECT_FALSE(monitor_lives());
  base::write_file(file("snap/config.json"), "{\"vsock\":");
  EXPECT_THAT(error(snapshotter().restore(file("snap"), soon())), HasSubstr("no JSON object"));
  EXPECT_FALSE(monitor_lives());
}

}  // namespace
}  // namespace attest::cloud_hypervisor
