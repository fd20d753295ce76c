// A snapshot's config.json, edited for a clone.
#include "backends/cloud_hypervisor/requests.h"
#include "error_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace attest::cloud_hypervisor {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// As Cloud Hypervisor writes it: all members, also those that nobody gave.
json saved() {
  return json::parse(R"({
    "cpus": {"boot_vcpus": 1, "max_vcpus": 2, "nested": true},
    "memory": {"size": 536870912, "hotplug_size": 134217728, "hotplugged_size": 134217728,
               "shared": false, "zones": null},
    "disks": [{"path": "/old/root.erofs", "readonly": true, "id": "root", "image_type": "Raw"},
              {"path": "/old/disk1.raw", "readonly": false, "id": "disk1", "image_type": "Raw"}],
    "net": [{"tap": null, "mac": "52:54:00:12:01:02", "id": "net1", "fds": [-1]}],
    "payload": {"firmware": null, "kernel": "/images/vmlinux", "cmdline": "old", "initramfs":
                "/old/initrd"},
    "serial": {"file": null, "mode": "Socket", "socket": "/old/serial.sock"},
    "console": {"file": null, "mode": "Off"},
    "vsock": {"cid": 3, "socket": "/old/vsock", "id": "_vsock5"},
    "landlock_enable": false, "landlock_rules": null})");
}

struct Clone {
  MachineConfig config;
  Launch launch{.program = "/ch",
                .version = {53, 0, 0},
                .work_dir = "/run/two",
                .kernel = "/images/vmlinux",
                .initrd = "/run/two/initrd",
                .cmdline = "new",
                .drives = {{.id = "root", .file = "/images/root.erofs", .read_only = true},
                           {.id = "disk1", .file = "/run/two/disk1.raw"}}};
  std::vector<NetworkAttachment> network{
      {.vlan = 1, .mac = "52:54:00:12:01:03", .interface = "at0v1n3"}};

  RestoredConfig edit(const json& text, MemoryMode wanted = MemoryMode::copy) const {
    return restored_config(text.dump(), "/snap", config, launch, network, wanted);
  }
};

TEST(RestoredConfigTest, PlacesWhatIsTheClonesOwnAndLeavesTheDevicesAsTheyAre) {
  Clone clone;
  auto restored = clone.edit(saved());
  auto expected = saved();
  expected["disks"][0]["path"] = "/images/root.erofs";
  expected["disks"][1]["path"] = "/run/two/disk1.raw";
  expected["payload"] = {
      {"kernel", "/images/vmlinux"}, {"cmdline", "new"}, {"initramfs", "/run/two/initrd"}};
  expected["vsock"]["socket"] = "/run/two/vsock";
  expected["serial"] = {{"mode", "Socket"}, {"socket", "/run/two/serial.sock"}};
  EXPECT_EQ(json::parse(restored.json), expected);
  EXPECT_EQ(restored.mode, MemoryMode::copy);
  EXPECT_EQ(restored.memory_mb, 640) << "what was plugged in is there, too";
}

TEST(RestoredConfigTest, NamesNoInitrdWhereNoneWasMade) {
  Clone clone;
  clone.launch.initrd.clear();
  EXPECT_TRUE(json::parse(clone.edit(saved()).json)["payload"]["initramfs"].is_null());
}

TEST(RestoredConfigTest, GivesTapsByNameToAMachineThatWasSavedWithDescriptors) {
  Clone clone;
  clone.config.cloud_hypervisor.tap = "name";
  clone.config.cloud_hypervisor.serial = "file";
  auto restored = json::parse(clone.edit(saved()).json);
  EXPECT_EQ(restored["net"][0]["tap"], "at0v1n3");
  EXPECT_TRUE(restored["net"][0]["fds"].is_null());
  EXPECT_EQ(restored["net"][0]["mac"], "52:54:00:12:01:02") << "the guest's own idea of it";
  EXPECT_EQ(restored["serial"]["file"], "/run/two/serial");
}

TEST(RestoredConfigTest, MapsAMemoryFileForThisCloneOnlyWhateverWasWanted) {
  auto text = saved();
  text["memory"] = json::parse(
      R"({"size": 0, "zones": [{"id": "memory", "size": 536870912, "file": "/old/memory",
          "shared": true}]})");
  for (auto wanted : {MemoryMode::map, MemoryMode::copy, MemoryMode::on_demand}) {
    auto restored = Clone().edit(text, wanted);
    auto zone = json::parse(restored.json)["memory"]["zones"][0];
    EXPECT_EQ(restored.mode, MemoryMode::map);
    EXPECT_EQ(zone["file"], "/snap/memory");
    EXPECT_EQ(zone["shared"], false);
    EXPECT_EQ(restored.memory_mb, 512);
  }
}

TEST(RestoredConfigTest, TakesTheMemoryOfASavedCloneFromTheSnapshotItself) {
  auto text = saved();
  text["memory"] = json::parse(
      R"({"size": 0, "zones": [{"id": "memory", "size": 536870912, "file": "/first/memory",
          "shared": false}]})");
  auto restored = Clone().edit(text, MemoryMode::on_demand);
  EXPECT_EQ(restored.mode, MemoryMode::on_demand);
  EXPECT_TRUE(json::parse(restored.json)["memory"]["zones"][0]["file"].is_null());
}

TEST(RestoredConfigTest, RulesOfLandlockNameTheSnapshot) {
  Clone clone;
  clone.config.cloud_hypervisor.landlock = true;
  auto restored = json::parse(clone.edit(saved()).json);
  EXPECT_EQ(restored["landlock_enable"], true);
  EXPECT_THAT(
      restored["landlock_rules"].dump(),
      AllOf(HasSubstr("/snap"), HasSubstr("/run/two/disk1.raw"), testing::Not(HasSubstr("/old"))));
}

struct UnfitCase {
  const char* name;
  void (*change)(json&);
  MemoryMode wanted;
  const char* says;
};
class UnfitSnapshot : public testing::TestWithParam<UnfitCase> {};
TEST_P(UnfitSnapshot, IsRefusedWithTheDifference) {
  auto text = saved();
  GetParam().change(text);
  auto words = error_of([&] { Clone().edit(text, GetParam().wanted); });
  EXPECT_THAT(words, AllOf(HasSubstr("'/snap'"), HasSubstr(GetParam().says), HasSubstr("hint:")));
}
INSTANTIATE_TEST_SUITE_P(
    , UnfitSnapshot,
    testing::Values(
        UnfitCase{"no_object", [](json& c) { c = 7; }, MemoryMode::copy, "no JSON object"},
        UnfitCase{"no_vsock", [](json& c) { c.erase("vsock"); }, MemoryMode::copy, "no vsock"},
        UnfitCase{"fewer_disks", [](json& c) { c["disks"].erase(1); }, MemoryMode::copy,
                  "has 1 disks, and this machine has 2"},
        UnfitCase{"disks_of_no_list", [](json& c) { c["disks"] = "x"; }, MemoryMode::copy,
                  "has 0 disks"},
        UnfitCase{"another_disk", [](json& c) { c["disks"][1]["id"] = "store"; }, MemoryMode::copy,
                  "'store' where this machine has 'disk1'"},
        UnfitCase{"a_disk_that_is_no_object", [](json& c) { c["disks"][1] = 3; }, MemoryMode::copy,
                  "a disk '' where"},
        UnfitCase{"more_cards", [](json& c) { c["net"].push_back(c["net"][0]); }, MemoryMode::copy,
                  "has 2 network cards"},
        UnfitCase{"a_foreign_card", [](json& c) { c["net"][0]["id"] = "_net3"; }, MemoryMode::copy,
                  "'_net3'"},
        UnfitCase{"not_to_be_mapped", [](json&) {}, MemoryMode::map, "cannot be mapped"}),
    [](const auto& row) { return row.param.name; });

TEST(RestoredConfigTest, RefusesTextThatIsCut) {
  auto text = saved().dump();
  Clone clone;
  auto words = error_of([&] {
    restored_config(text.substr(0, text.size() / 2), "/snap", clone.config, clone.launch,
                    clone.network, MemoryMode::copy);
  });
  EXPECT_THAT(words, HasSubstr("no JSON object"));
}

}  // namespace
}  // namespace attest::cloud_hypervisor
