#include "lib/core/uplink.h"

#include "attest/error.h"
#include "fakes/direct_outside.h"
#include "fakes/error_of.h"
#include "lib/async/loop.h"
#include "lib/base/file.h"
#include "lib/net/switching/frames.h"
#include "lib/net/uplink.h"

#include <gmock/gmock.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

namespace attest::core {
namespace {
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct WiringCase {
  const char* name;
  bool internet;
  Wiring wiring;
  bool expected;
};
class HasUplink : public testing::TestWithParam<WiringCase> {};

TEST_P(HasUplink, WhereAMachineAsksForItAndHasCardsOfOurs) {
  MachineConfig config;
  config.internet = GetParam().internet;
  EXPECT_EQ(has_uplink(config, GetParam().wiring), GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(, HasUplink,
                         testing::Values(WiringCase{"not_asked", false, Wiring::stream, false},
                                         WiringCase{"stream", true, Wiring::stream, true},
                                         WiringCase{"tap", true, Wiring::tap, true},
                                         WiringCase{"veth", true, Wiring::veth, true},
                                         WiringCase{"start_script", true, Wiring::vde, false},
                                         WiringCase{"no_cards", true, Wiring::none, false}),
                         [](const auto& row) { return row.param.name; });

// With a passt that is `script`, or the host's own.
class OpenUplink : public testing::Test {
 protected:
  void TearDown() override {
    if (!path_.empty()) ::setenv("PATH", path_.c_str(), 1);
    loop.run(drop(std::move(outside)));  // its children end on the loop
  }
  static Task<void> drop(std::shared_ptr<fakes::DirectOutside>) { co_return; }

  // No program but sh, and `passt` unless it is empty.
  void only(const std::string& passt) {
    path_ = std::getenv("PATH");
    std::filesystem::create_symlink("/bin/sh", dir.path() / "sh");
    if (!passt.empty()) {
      base::write_file(dir.path() / "passt", "#!/bin/sh\n" + passt);
      ASSERT_EQ(::chmod((dir.path() / "passt").c_str(), 0755), 0);
    }
    ::setenv("PATH", dir.path().c_str(), 1);
  }
  base::Fd open(Deadline deadline = Deadline::after(10s)) {
    return loop.run(open_uplink(outside, net::make_uplink(2), deadline));
  }

  base::TempDir dir;
  async::Loop loop;
  std::shared_ptr<fakes::DirectOutside> outside =
      std::make_shared<fakes::DirectOutside>(loop.executor());

 private:
  std::string path_;
};

TEST_F(OpenUplink, GivesAStreamOnWhichPasstAnswers) {
  if (auto lack = missing_for_uplink()) GTEST_SKIP() << lack->text;
  auto stream = open();
  // It is a socket as any other: once more by hand.
  auto question = net::gateway_question(net::make_uplink(2));
  ASSERT_EQ(::send(stream.get(), question.data(), question.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(question.size()));
  std::string answer;
  pollfd ready{stream.get(), POLLIN, 0};
  while (answer.size() <= net::length_bytes ||
         answer.size() < net::length_bytes + net::read_length(answer)) {
    ASSERT_EQ(::poll(&ready, 1, 10'000), 1);
    char buffer[256];
    auto count = ::recv(stream.get(), buffer, sizeof buffer, 0);
    ASSERT_GT(count, 0);
    answer.append(buffer, static_cast<std::size_t>(count));
  }
  EXPECT_TRUE(net::is_gateway_answer(answer.substr(net::length_bytes)));
}

TEST_F(OpenUplink, SaysWhatToInstallWithoutPasst) {
  only("");
  EXPECT_EQ(missing_for_uplink().value().capability, "passt");
  auto text = error_of(Error::Kind::host, [&] { open(); });
  EXPECT_THAT(
      text, AllOf(HasSubstr("passt: not found"), HasSubstr("hint: install passt (Debian: passt)")));
}

TEST_F(OpenUplink, RepeatsPasstsOwnWordsIfItEndsAtOnce) {
  only(
      "echo 'Failed to send 36 bytes to syslog' >&2; echo 'External interface not usable' >&2\n"
      "exit 1\n");
  auto text = error_of(Error::Kind::host, [&] { open(); });
  EXPECT_THAT(text, AllOf(HasSubstr("ended at once: External interface not usable"),
                          Not(HasSubstr("hint"))));
}

TEST_F(OpenUplink, TakesAnAnswerInPieces) {
  only(R"(
    printf '\0\0\0\052' >&0
    /bin/sleep 0.05
    printf '\122\124\0\022\0\002\122\124\0\022\0\376\010\006\0\001\010\0\006\004\0\002' >&0
    /bin/sleep 0.05
    printf '\122\124\0\022\0\376\012\0\002\002\122\124\0\022\0\002\012\0\002\017' >&0
    while read -r never; do :; done)");
  EXPECT_TRUE(open());
}

TEST_F(OpenUplink, SaysSoIfPasstEndsWithoutAWord) {
  only("exit 1\n");
  EXPECT_THAT(error_of(Error::Kind::host, [&] { open(); }), HasSubstr("it has said nothing"));
}

TEST_F(OpenUplink, DoesNotWaitForEverForASilentPasst) {
  only("while read -r never; do :; done\n");
  auto text = error_of(Error::Kind::timeout, [&] { open(Deadline::after(2s)); });
  EXPECT_THAT(text, HasSubstr("waiting for passt's first answer"));
}

TEST_F(OpenUplink, NeedsAWayToTheHost) {
  auto text = error_of(Error::Kind::host, [&] {
    loop.run(open_uplink(nullptr, net::make_uplink(2), Deadline::after(10s)));
  });
  EXPECT_THAT(text, HasSubstr("make_driver"));
}

}  // namespace
}  // namespace attest::core
