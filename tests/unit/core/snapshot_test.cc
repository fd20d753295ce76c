// Saving and restoring a machine: what the driver makes of a backend that can.
#include "bed.h"
#include "lib/core/manifest_json.h"
#include "lib/core/snapshot_files.h"

#include <fcntl.h>
#include <sys/file.h>

#include <fstream>

namespace attest::core {
namespace {

namespace fs = std::filesystem;

class Snapshot : public Bed {
 protected:
  void make_one(fakes::Behaviour behaviour = {}) {
    base::write_file(dir.path() / "monitor", "a program");
    base::write_file(dir.path() / "root", std::string(300'000, '\0') + "a root");
    behaviour.has_snapshots = true;
    behaviour.facts = {.monitor = "Fake 1.0",
                       .format = "v7",
                       .binary = dir.path() / "monitor",
                       .kernel = {},
                       .cpu = "a CPU",
                       .disks = {dir.path() / "root"}};
    fakes.behave("web", behaviour);
    behaved = behaviour;
    make({"web"});
  }
  void save() { machine("web").snapshot_create(saved); }
  // The guest is a shell of this host, whose clock must stay.
  void restore() { machine("web").snapshot_restore(saved, {.keep_clock = true}); }
  std::string restore_error() {
    return error_of(Error::Kind::usage, [&] { restore(); });
  }
  fs::path saved = dir.path() / "saved";
  fakes::Behaviour behaved;
};

TEST_F(Snapshot, IsADirectoryWithAManifestThatNamesEverything) {
  make_one();
  save();
  auto manifest = read_manifest(saved);
  EXPECT_EQ(manifest.machine, "web");
  EXPECT_EQ(manifest.backend, "fake");
  EXPECT_EQ(manifest.monitor, "Fake 1.0");
  EXPECT_EQ(manifest.format, "v7");
  EXPECT_EQ(manifest.cpu, "a CPU");
  EXPECT_EQ(manifest.memory_mb, 512);
  EXPECT_TRUE(manifest.programs.contains("monitor"));
  EXPECT_TRUE(manifest.disks.contains((dir.path() / "root").string()));
  EXPECT_EQ(manifest.files.at("memory").size, 17u);
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n");
  EXPECT_EQ(fakes.boots("web"), 1) << "it goes on, it does not boot";
}

TEST_F(Snapshot, EndsWhatWasUnderWayAndTheMachineGoesOn) {
  make_one();
  auto command = busy(machine("web"));
  save();
  EXPECT_THAT(command.get(), HasSubstr("connection lost at snapshot of machine 'web'"));
  EXPECT_TRUE(machine("web").is_up());
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n");
}

TEST_F(Snapshot, LetsCommandsRunOnWhereTheConnectionsSurvive) {
  make_one({.keeps_stream = true});
  auto& web = machine("web");
  web.succeed("mkfifo /tmp/runs /tmp/go");
  auto command = aside([&] { web.succeed("echo >/tmp/runs; cat /tmp/go"); });
  web.succeed("cat /tmp/runs");
  save();
  web.succeed("echo >/tmp/go; rm /tmp/runs /tmp/go");
  EXPECT_EQ(command.get(), "");
}

TEST_F(Snapshot, ARestoreEndsTheRunningMachineAndGoesOnFromWhatWasSaved) {
  make_one();
  save();
  auto command = busy(machine("web"));
  restore();
  EXPECT_THAT(command.get(), HasSubstr("connection lost at restore of machine 'web'"));
  ASSERT_EQ(fakes.restored("web").size(), 1u);
  EXPECT_EQ(fakes.restored("web").front(), saved);
  EXPECT_TRUE(machine("web").is_up());
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n");
}

TEST_F(Snapshot, ARestoreSaysHowLongItsStepsTook) {
  make_one();
  save();
  restore();
  EXPECT_EQ(said("by heart").size(), 1u);
  EXPECT_EQ(said("monitor 1 ms, load 2 ms, resume 3 ms, first answer ").size(), 1u);
}

TEST_F(Snapshot, AMachineThatIsOffCanBeRestored) {
  make_one();
  save();
  machine("web").crash();
  restore();
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n");
}

TEST_F(Snapshot, IsRefusedWhereSomethingIsAlready) {
  make_one();
  fs::create_directories(saved / "sub");
  auto text = error_of(Error::Kind::usage, [&] { save(); });
  EXPECT_THAT(text, AllOf(HasSubstr("'" + saved.string() + "'"), HasSubstr("it is there already")));
  EXPECT_EQ(fakes.boots("web"), 0) << "it is refused before anything boots";
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n");
}

TEST_F(Snapshot, RemovesWhatAKilledProcessHasLeftOfTheSame) {
  make_one();
  auto beside = [&](const std::string& name) { return saved.parent_path() / name; };
  auto stale = beside("." + saved.filename().string() + ".01234567.partial");
  auto busy = beside("." + saved.filename().string() + ".89abcdef.partial");
  auto other = beside(".another.01234567.partial");
  for (auto& dir : {stale, busy, other}) {
    fs::create_directories(dir);
    base::write_file(dir / "memory", "half");
  }
  base::Fd lock(::open(busy.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
  save();
  EXPECT_FALSE(fs::exists(stale));
  EXPECT_TRUE(fs::exists(busy / "memory")) << "somebody is making it";
  EXPECT_TRUE(fs::exists(other / "memory"));
  restore();
}

TEST_F(Snapshot, TakesAnEmptyDirectory) {
  make_one();
  fs::create_directories(saved);
  save();
  EXPECT_TRUE(fs::exists(saved / manifest_name));
}

TEST_F(Snapshot, ThatFailsLeavesNothing) {
  make_one({.save_error = Error(Error::Kind::host, "no space left on device")});
  auto before = std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator());
  machine("web").start();
  auto started = std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator());
  auto text = error_of(Error::Kind::host, [&] { save(); });
  EXPECT_THAT(text, AllOf(HasSubstr("no space left on device"), HasSubstr("saving it as")));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), started);
  EXPECT_GE(started, before);
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n");
}

TEST_F(Snapshot, ADeathDuringTheSaveIsTheCause) {
  make_one({.save_hangs = true});
  machine("web").start();
  auto saving = aside([&] { save(); });
  auto folder = [&] {
    for (auto& entry : fs::directory_iterator(dir.path()))
      if (entry.path().extension() == ".partial" && fs::exists(entry.path() / "memory"))
        return true;
    return false;
  };
  while (!folder()) std::this_thread::yield();
  fakes.end("web", {.orderly = false, .cause = "the monitor was killed by signal 9 (Killed)"});
  EXPECT_THAT(saving.get(), HasSubstr("machine 'web' is gone: the monitor was killed"));
  EXPECT_FALSE(folder());
}

TEST_F(Snapshot, AGuestThatDoesNotAnswerAfterwardsIsEndedAndStartedAgain) {
  make_one({.deaf_after_save = true});
  machine("web").start();
  auto text = error_of([&] { machine("web").snapshot_create(saved, {.timeout = 1s}); });
  EXPECT_THAT(text, HasSubstr("did not greet"));
  EXPECT_FALSE(machine("web").is_up());
  EXPECT_FALSE(fs::exists(saved));
  EXPECT_EQ(machine("web").succeed("echo again"), "again\n");
  EXPECT_EQ(fakes.boots("web"), 2);
}

TEST_F(Snapshot, OfABackendWithoutThePowerIsRefused) {
  make({"web"});
  auto text = error_of(Error::Kind::unsupported, [&] { save(); });
  EXPECT_THAT(text, HasSubstr("machine 'web' (fake) has no snapshots"));
  text = error_of(Error::Kind::unsupported, [&] { restore(); });
  EXPECT_THAT(text, HasSubstr("machine 'web' (fake) has no snapshots"));
}

// ---- what is refused before anything is touched ----

TEST_F(Snapshot, DamageIsFoundByName) {
  make_one();
  save();
  auto write = [&](const std::string& text) { std::ofstream(saved / "memory") << text; };
  write("what it remembert");
  EXPECT_THAT(restore_error(), HasSubstr("'memory' has changed since it was saved"));
  write("what it");
  EXPECT_THAT(restore_error(), HasSubstr("'memory' has 7 bytes, it was saved with 17"));
  fs::remove(saved / "memory");
  EXPECT_THAT(restore_error(), HasSubstr("'memory' is missing"));
  fs::remove(saved / manifest_name);
  EXPECT_THAT(restore_error(), HasSubstr("it has no manifest.json"));
  fs::remove_all(saved);
  EXPECT_THAT(restore_error(), HasSubstr("there is no such directory"));
  EXPECT_EQ(fakes.boots("web"), 1);
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n") << "it is as it was";
}

TEST_F(Snapshot, EachDifferenceIsNamed) {
  make_one();
  save();
  auto other = behaved;
  other.facts.monitor = "Fake 1.1";
  other.facts.cpu = "another CPU";
  base::write_file(dir.path() / "new root", "another");
  other.facts.disks = {dir.path() / "new root"};
  fakes.behave("web", other);
  base::write_file(dir.path() / "monitor", "another program");
  EXPECT_THAT(restore_error(),
              AllOf(HasSubstr("monitor: saved with 'Fake 1.0', here is 'Fake 1.1'"),
                    HasSubstr("CPU: saved with 'a CPU', here is 'another CPU'"),
                    HasSubstr("program 'monitor': saved with 9 bytes"),
                    HasSubstr("saved with one, here is none")));
  EXPECT_EQ(machine("web").succeed("echo on"), "on\n");
}

}  // namespace
}  // namespace attest::core
