#include "lib/net/kernel/netns.h"

#include "tests/unit/net/own_network.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <stdexcept>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

class NetnsTest : public OwnNetwork {};

ino_t inode(const char* path = "/proc/thread-self/ns/net") {
  struct stat status{};
  base::check(::stat(path, &status), "stat");
  return status.st_ino;
}

TEST_F(NetnsTest, WorkIsDoneInsideAndTheCallersThreadStays) {
  auto here = inode();
  auto there = make_netns();
  ino_t seen = 0;
  in_netns(there, [&] { seen = inode(); });
  struct stat made{};
  base::check(::fstat(there.get(), &made), "fstat");
  EXPECT_EQ(seen, made.st_ino);
  EXPECT_NE(seen, here);
  EXPECT_EQ(inode(), here);
}

TEST_F(NetnsTest, WhatItThrowsComesBack) {
  auto there = make_netns();
  try {
    in_netns(there, [] { throw std::out_of_range("lost"); });
    FAIL() << "nothing came";
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "lost");
  }
}

TEST_F(NetnsTest, SignalsAreForOtherThreads) {
  auto there = make_netns();
  sigset_t before, inside, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  in_netns(there, [&] { ::pthread_sigmask(SIG_SETMASK, nullptr, &inside); });
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal : {SIGTERM, SIGINT, SIGCHLD, SIGUSR1}) {
    EXPECT_TRUE(::sigismember(&inside, signal)) << signal;
    EXPECT_EQ(::sigismember(&after, signal), ::sigismember(&before, signal)) << signal;
  }
}

TEST_F(NetnsTest, ANetlinkObjectFromInsideWorksOnThereForEver) {
  auto there = make_netns();
  Netlink* netlink = nullptr;
  in_netns(there, [&] { netlink = new Netlink; });
  std::unique_ptr<Netlink> owner(netlink);
  netlink->make_bridge("far", "52:54:00:12:01:fe");
  EXPECT_THAT(Netlink().names(), ElementsAre("lo"));
  EXPECT_THAT(netlink->names("far"), ElementsAre("far"));
}

TEST_F(NetnsTest, WhatIsNoNamespaceIsRefused) {
  base::Fd no_netns(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  bool ran = false;
  try {
    in_netns(no_netns, [&] { ran = true; });
    FAIL() << "it was entered";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("entering a network namespace: Invalid argument"));
  }
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace attest::net
