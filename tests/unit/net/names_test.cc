#include "lib/net/names.h"

#include "lib/base/file.h"
#include "lib/base/sys_error.h"

#include <gmock/gmock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstdio>
#include <functional>
#include <memory>

namespace attest::net {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(HostNamesOfAPlan, LeadToEachMachineOnTheFirstOfItsVlans) {
  auto plan = make_plan({{"alone", {}}, {"db", {2}}, {"web", {7, 2}}});
  EXPECT_THAT(host_names(plan),
              ElementsAre(HostName{"192.168.2.2", "db"}, HostName{"2001:db8:2::2", "db"},
                          HostName{"192.168.7.3", "web"}, HostName{"2001:db8:7::3", "web"}));
}

TEST(HostsText, HasTheNewestNamesFirstAndTheOriginalLast) {
  EXPECT_EQ(hosts_text({}, "127.0.0.1 localhost\n"), "127.0.0.1 localhost\n");
  EXPECT_EQ(hosts_text({{{"192.168.1.9", "new"}}, {{"192.168.1.1", "old"}}}, "# comment\n"),
            "192.168.1.9 new\n192.168.1.1 old\n# comment\n");
  EXPECT_EQ(hosts_text({{{"192.168.1.9", "new"}}}, ""), "192.168.1.9 new\n");
  EXPECT_EQ(hosts_text({}, "127.0.0.1 no-end-of-line"), "127.0.0.1 no-end-of-line\n");
}

TEST(HostsText, HasIpv4BeforeIpv6) {
  EXPECT_EQ(hosts_text({{{"2001:db8:1::1", "a"},
                         {"192.168.1.1", "a"},
                         {"2001:db8:1::2", "b"},
                         {"192.168.1.2", "b"}}},
                       "::1 localhost\n"),
            "192.168.1.1 a\n192.168.1.2 b\n2001:db8:1::1 a\n2001:db8:1::2 b\n::1 localhost\n");
}

TEST(HostsText, LeavesOutWhatANewerNameHides) {
  EXPECT_EQ(hosts_text({{{"192.168.7.1", "web"}, {"192.168.8.1", "web"}},
                        {{"192.168.1.1", "WEB"}, {"2001:db8:1::1", "web"}, {"192.168.1.2", "db"}}},
                       "127.0.0.1 localhost web  # two\n127.0.1.1\tWeb\n10.0.0.1 webs # web\n"),
            "192.168.7.1 web\n192.168.8.1 web\n192.168.1.2 db\n"
            "127.0.0.1 localhost\n10.0.0.1 webs # web\n");
}

TEST(FilesFirst, ChangesOnlyWhatDoesNotLookIntoFilesFirst) {
  const std::pair<const char*, const char*> cases[] = {
      {"passwd: files\nhosts: files dns\n", nullptr},
      {"hosts:\tfiles\n", nullptr},
      {" hosts : files\tmyhostname # resolve\n", nullptr},
      {"passwd: files\nhosts: resolve [!UNAVAIL=return] files dns\nrpc: db\n",
       "passwd: files\nhosts: files dns\nrpc: db\n"},
      {"hosts: filesystem files\n", "hosts: files dns\n"},
      {"hosts:\n", "hosts: files dns\n"},
      {"passwd: files", "passwd: files\nhosts: files dns\n"},
      {"# hosts: files\n", "# hosts: files\nhosts: files dns\n"},
      {"", "hosts: files dns\n"},
  };
  for (auto& [before, after] : cases) {
    auto changed = files_first(before);
    EXPECT_EQ(changed.value_or("as it is"), after ? after : "as it is") << before;
  }
}

void bind_over(const std::filesystem::path& with, const char* what) {
  base::check(::mount(with.c_str(), what, nullptr, MS_BIND, nullptr), "mount");
}
void tmpfs_over(const char* what) {
  base::check(::mount("tmpfs", what, "tmpfs", 0, nullptr), "mount");
}

// Names resolve in a child process with its own mounts, and with a network that leads nowhere.
class HostNamesTest : public testing::Test {
 protected:
  void in_own_mounts(const std::function<void()>& body) {
    std::fflush(nullptr);
    auto child = base::check(::fork(), "fork");
    if (child == 0) ::_exit(outcome(body));
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    if (WEXITSTATUS(status) == no_mounts)
      GTEST_SKIP() << "this user cannot have mounts of its own here";
    EXPECT_EQ(WEXITSTATUS(status), 0) << "the child's failures are above";
  }

  // A hosts file of the test, so that it does not depend on the host's.
  void have_hosts(const std::string& content) {
    base::write_file(dir_.path() / "host's", content);
    bind_over(dir_.path() / "host's", "/etc/hosts");
  }

  // Its own directory for a driver.
  std::filesystem::path new_dir() {
    auto made = dir_.path() / std::to_string(++dirs_);
    std::filesystem::create_directory(made);
    return made;
  }

  // What getaddrinfo() says, in its order.
  static std::vector<std::string> resolve(const char* name, int family = AF_INET) {
    addrinfo hints{.ai_family = family, .ai_socktype = SOCK_STREAM};
    addrinfo* list = nullptr;
    if (int failure = ::getaddrinfo(name, nullptr, &hints, &list); failure != 0) return {};
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
    std::vector<std::string> addresses;
    for (auto* one = list; one; one = one->ai_next) {
      char text[100]{};
      ::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
      addresses.emplace_back(text);
    }
    return addresses;
  }

  base::TempDir dir_;

 private:
  static constexpr int no_mounts = 77;

  static bool enter() {
    auto uid = ::geteuid();
    auto gid = ::getegid();
    int own = CLONE_NEWNS | CLONE_NEWNET;
    if (uid != 0) own |= CLONE_NEWUSER;
    if (::unshare(own) < 0) return false;
    if (uid != 0) try {
        base::write_once("/proc/self/setgroups", "deny");
        base::write_once("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
        base::write_once("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
      } catch (const Error&) {
        return false;
      }
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }

  static int outcome(const std::function<void()>& body) {
    if (!enter()) return no_mounts;
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    std::fflush(nullptr);
    return HasFailure() ? 1 : 0;
  }

  int dirs_ = 0;
};

TEST_F(HostNamesTest, ResolveWhileTheyLiveAndTheHostsFileStaysAsItIs) {
  auto hosts = base::try_read_file("/etc/hosts");
  auto mounts = base::read_file("/proc/self/mountinfo");
  in_own_mounts([&] {
    have_hosts("127.0.0.1 localhost\n10.9.8.7 elsewhere\n");
    EXPECT_THAT(resolve("web"), IsEmpty());
    {
      HostNames names(new_dir(), {{"2001:db8:1::2", "web"}, {"192.168.1.2", "web"}});
      EXPECT_THAT(resolve("web"), ElementsAre("192.168.1.2"));
      EXPECT_THAT(resolve("WEB", AF_INET6), ElementsAre("2001:db8:1::2"));
      EXPECT_THAT(resolve("localhost"), ElementsAre("127.0.0.1"));
      EXPECT_THAT(resolve("elsewhere"), ElementsAre("10.9.8.7"));
    }
    EXPECT_THAT(resolve("web"), IsEmpty());
    EXPECT_THAT(resolve("elsewhere"), ElementsAre("10.9.8.7"));
    EXPECT_EQ(base::read_file("/etc/hosts"), "127.0.0.1 localhost\n10.9.8.7 elsewhere\n");
    EXPECT_EQ(base::read_file(dir_.path() / "host's"), "127.0.0.1 localhost\n10.9.8.7 elsewhere\n");
  });
  EXPECT_EQ(base::try_read_file("/etc/hosts"), hosts);
  EXPECT_EQ(base::read_file("/proc/self/mountinfo"), mounts);
}

TEST_F(HostNamesTest, OfSeveralDriversAllResolveAndTheNewestCounts) {
  in_own_mounts([&] {
    have_hosts("127.0.1.1 web\n");
    auto first_dir = new_dir();
    auto first = std::make_unique<HostNames>(
        first_dir, std::vector<HostName>{{"192.168.1.1", "db"}, {"192.168.1.2", "web"}});
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.1.2"));
    HostNames second(new_dir(), {{"192.168.7.1", "web"}});
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.7.1"));
    EXPECT_THAT(resolve("db"), ElementsAre("192.168.1.1"));
    first.reset();
    std::filesystem::remove_all(first_dir);  // the one that was mounted
    EXPECT_THAT(resolve("db"), IsEmpty());
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.7.1"));
    {
      HostNames third(new_dir(), {{"192.168.9.1", "web"}});
      EXPECT_THAT(resolve("web"), ElementsAre("192.168.9.1"));
    }
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.7.1"));
    second.set({});
    EXPECT_THAT(resolve("web"), ElementsAre("127.0.1.1"));
  });
}

TEST_F(HostNamesTest, CanBeChanged) {
  in_own_mounts([&] {
    have_hosts("");
    HostNames names(new_dir(), {{"192.168.1.1", "a-long-name-that-goes"}, {"192.168.1.2", "b"}});
    names.set({{"192.168.1.2", "b"}, {"192.168.1.3", "c"}});
    EXPECT_THAT(resolve("a-long-name-that-goes"), IsEmpty());
    EXPECT_THAT(resolve("b"), ElementsAre("192.168.1.2"));
    EXPECT_THAT(resolve("c"), ElementsAre("192.168.1.3"));
    EXPECT_EQ(base::read_file("/etc/hosts"), "192.168.1.2 b\n192.168.1.3 c\n");
  });
}

TEST_F(HostNamesTest, ResolveWhereFilesAreNotAskedFirstAlsoInAProcessThatHasAskedBefore) {
  in_own_mounts([&] {
    have_hosts("10.9.8.7 elsewhere\n");
    base::write_file(dir_.path() / "nsswitch", "passwd: files\nhosts: dns [!UNAVAIL=return]\n");
    bind_over(dir_.path() / "nsswitch", "/etc/nsswitch.conf");
    ASSERT_THAT(resolve("elsewhere"), IsEmpty());  // files are not even asked
    HostNames names(new_dir(), {{"192.168.1.2", "web"}});
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.1.2"));
    EXPECT_THAT(resolve("elsewhere"), ElementsAre("10.9.8.7"));
    EXPECT_EQ(base::read_file("/etc/nsswitch.conf"), "passwd: files\nhosts: files dns\n");
    EXPECT_THAT(base::read_file(dir_.path() / "nsswitch"), HasSubstr("UNAVAIL"));
  });
}

TEST_F(HostNamesTest, ResolveWithoutAnNsswitchConf) {
  in_own_mounts([&] {
    tmpfs_over("/etc");
    base::write_file("/etc/hosts", "");
    HostNames names(new_dir(), {{"192.168.1.2", "web"}});
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.1.2"));
    EXPECT_FALSE(std::filesystem::exists("/etc/nsswitch.conf"));
  });
}

TEST_F(HostNamesTest, HideNscd) {
  in_own_mounts([&] {
    have_hosts("");
    tmpfs_over("/run");
    std::filesystem::create_directory("/run/nscd");
    base::write_file("/run/nscd/socket", "");
    HostNames names(new_dir(), {{"192.168.1.2", "web"}});
    EXPECT_TRUE(std::filesystem::is_empty("/run/nscd"));
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.1.2"));
  });
}

TEST_F(HostNamesTest, SayThatThereIsNoHostsFileAndCanBeMadeOnceThereIs) {
  in_own_mounts([&] {
    tmpfs_over("/etc");
    auto dir = new_dir();
    try {
      HostNames names(dir, {{"192.168.1.2", "web"}});
      FAIL() << "they were made";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::host);
      EXPECT_THAT(error.what(), HasSubstr("names of machines do not resolve in the test process"));
      EXPECT_THAT(error.what(), HasSubstr("'/etc/hosts': No such file"));
      EXPECT_THAT(error.what(), HasSubstr("hint: "));
    }
    EXPECT_TRUE(std::filesystem::is_empty("/etc"));
    base::write_file("/etc/hosts", "");
    HostNames names(dir, {{"192.168.1.2", "web"}});
    EXPECT_THAT(resolve("web"), ElementsAre("192.168.1.2"));
  });
}

}  // namespace
}  // namespace attest::net
