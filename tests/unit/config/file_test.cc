#include "lib/base/file.h"
#include "attest/config.h"
#include "tests/unit/config/message.h"

#include <gmock/gmock.h>

namespace attest {
namespace {

TEST(FromFile, MakesPathsAbsolute) {
  base::TempDir dir;
  auto file = dir.path() / "machines.json";
  base::write_file(file, R"({"machines": {"web": {
    "image": "images/web", "disks": ["d.qcow2", {"size_mb": 5}],
    "files": [{"from": "../f", "to": "/f"}], "mounts": [{"host": "m", "guest": "/m"}],
    "firmware": "~/fw", "qemu": {"binary": "./qemu"}, "env": {"A": "a/b"}, "cmdline": "x/y"},
    "db": {"image": "debian", "kernel": "/boot/vmlinuz", "initrd": "initrd"},
    "old": {"start_script": "run-old-vm"}}})");
  auto config = Config::from_file(file.string());
  auto at = [&](const std::string& path) { return dir.path().string() + "/" + path; };
  auto& web = config.machines["web"];
  EXPECT_EQ(web.image, at("images/web"));
  EXPECT_EQ(web.disks[0].path, at("d.qcow2"));
  EXPECT_EQ(web.disks[1].path, "");
  EXPECT_EQ(web.files[0].from, at("../f"));
  EXPECT_EQ(web.files[0].to, "/f");
  EXPECT_EQ(web.mounts[0].host, at("m"));
  EXPECT_EQ(web.firmware, at("~/fw"));
  EXPECT_EQ(web.qemu.binary, at("./qemu"));
  EXPECT_EQ(web.env["A"], "a/b");
  EXPECT_EQ(web.cmdline, "x/y");
  EXPECT_EQ(config.machines["db"].image, "debian");
  EXPECT_EQ(config.machines["db"].kernel, "/boot/vmlinuz");
  EXPECT_EQ(config.machines["db"].initrd, at("initrd"));
  EXPECT_EQ(config.machines["db"].qemu.binary, "qemu-system-x86_64");
  EXPECT_EQ(config.machines["old"].start_script, at("run-old-vm"));
}

TEST(FromFile, MakesPathsAbsoluteAlsoWhenItsOwnIsRelative) {
  base::TempDir dir;
  base::write_file(dir.path() / "c.json", R"({"machines": {"web": {"kernel": "k"}}})");
  auto relative = std::filesystem::relative(dir.path() / "c.json");
  auto kernel = Config::from_file(relative.string()).machines["web"].kernel;
  EXPECT_TRUE(std::filesystem::path(kernel).is_absolute()) << kernel;
  EXPECT_EQ(std::filesystem::weakly_canonical(kernel),
            std::filesystem::canonical(dir.path()) / "k");
}

TEST(FromFile, NamesTheFileInErrors) {
  base::TempDir dir;
  auto file = (dir.path() / "c.json").string();
  base::write_file(file, R"({"machines": {"web": {"vcpus": 0}}})");
  EXPECT_EQ(message_of([&] { Config::from_file(file); }),
            "machines.web.vcpus: expected a whole number between 1 and 255, got the number 0\n"
            "  while reading config '" +
                file + "'");
}

TEST(FromFile, BlamesTheHostForFilesThatCannotBeRead) {
  base::TempDir dir;
  for (auto& path : {dir.path().string(), (dir.path() / "none.json").string()})
    EXPECT_THAT(message_of([&] { Config::from_file(path); }),
                testing::StartsWith("(other kind) reading config '" + path + "': "));
}

TEST(FromFile, EndsOnFilesThatDoNotEnd) {
  EXPECT_EQ(message_of([] { Config::from_file("/dev/zero"); }),
            "a config of more than 4 MiB is not read\n  while reading config '/dev/zero'");
}

TEST(FromJson, LeavesRelativePathsAlone) {
  auto config = Config::from_json(R"({"machines": {"web": {"kernel": "k"}}})");
  EXPECT_EQ(config.machines["web"].kernel, "k");
}

}  // namespace
}  // namespace attest
