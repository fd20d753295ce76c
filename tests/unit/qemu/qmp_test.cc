// The QMP client against a scripted peer at the other end of a socket pair.
#include "lib/proto/qmp.h"

#include "lib/async/fd_stream.h"
#include "lib/async/loop.h"
#include "lib/base/fd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <string>

namespace attest::proto {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr const char* greeting =
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}}}\r\n";

class QmpSession : public testing::Test {
 protected:
  QmpSession() {
    auto [ours, theirs] = base::stream_pair();
    peer_ = std::move(theirs);
    qmp_ = std::make_unique<Qmp>(loop_.executor(),
                                 async::make_stream(loop_.executor(), std::move(ours)));
  }
  ~QmpSession() override {
    on_loop([this] { qmp_.reset(); });
  }

  template <class F>
  void on_loop(F work) {
    struct Once {
      static Task<void> run(F* body) {
        (*body)();
        co_return;
      }
    };
    loop_.run(Once::run(&work));
  }

  void say(const std::string& bytes) {
    ASSERT_EQ(::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), ssize_t(bytes.size()));
  }
  /// One line from the client.
  std::string hear() {
    std::string line;
    char byte;
    while (::read(peer_.get(), &byte, 1) == 1 && byte != '\n') line += byte;
    return line;
  }
  /// Starts an operation on the loop and returns at once.
  template <class T>
  std::future<T> start(Task<T> task) {
    return asio::co_spawn(loop_.executor(), std::move(task), asio::use_future);
  }
  void negotiate() {
    auto done = start(qmp_->negotiate(Deadline::after(5s)));
    say(greeting);
    EXPECT_THAT(hear(), HasSubstr("qmp_capabilities"));
    say("{\"return\": {}, \"id\": 1}\r\n");
    done.get();
  }
  template <class T>
  std::string error_of(std::future<T> result, Error::Kind kind) {
    try {
      result.get();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    return "no error";
  }

  async::Loop loop_;
  base::Fd peer_;
  std::unique_ptr<Qmp> qmp_;
};

TEST_F(QmpSession, NegotiatesAndKnowsTheVersion) {
  negotiate();
  EXPECT_EQ(qmp_->version(), "7.2.22");
}

TEST_F(QmpSession, ReturnsAReplyThatComesInPiecesAfterAnEvent) {
  negotiate();
  auto reply = start(qmp_->execute("query-status", "", Deadline::after(5s)));
  EXPECT_EQ(hear(), R"({"execute":"query-status","id":2})");
  say("{\"event\": \"STOP\"}\r\n{\"return\": {\"sta");
  say("tus\": \"paused\"}, \"id\": 2}\r\n");
  EXPECT_EQ(reply.get(), R"({"status":"paused"})");
  auto event = start(qmp_->next_event(Deadline::after(5s))).get();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->name, "STOP");
}

TEST_F(QmpSession, MatchesRepliesThatComeInAnotherOrder) {
  negotiate();
  auto first = start(qmp_->execute("a", "", Deadline::after(5s)));
  auto second = start(qmp_->execute("b", "", Deadline::after(5s)));
  EXPECT_THAT(hear(), HasSubstr("\"a\""));
  EXPECT_THAT(hear(), HasSubstr("\"b\""));
  say("{\"return\": 30, \"id\": 3} {\"return\": 20, \"id\": 2}");
  EXPECT_EQ(first.get(), "20");
  EXPECT_EQ(second.get(), "30");
}

TEST_F(QmpSession, QuotesARefusal) {
  negotiate();
  auto reply = start(qmp_->execute("set_link", R"({"name":"x","up":true})", Deadline::after(5s)));
  hear();
  say("{\"id\": 2, \"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'x' not "
      "found\"}}");
  EXPECT_THAT(error_of(std::move(reply), Error::Kind::host),
              HasSubstr("QEMU refused 'set_link': Device 'x' not found (DeviceNotFound)"));
}

TEST_F(QmpSession, TimesOutAndIgnoresTheLateReply) {
  negotiate();
  auto late = start(qmp_->execute("slow", "", Deadline::after(30ms)));
  EXPECT_THAT(error_of(std::move(late), Error::Kind::timeout), HasSubstr("'slow'"));
  say("{\"return\": \"late\", \"id\": 2}\r\n");
  auto next = start(qmp_->execute("quick", "", Deadline::after(5s)));
  hear();
  EXPECT_THAT(hear(), HasSubstr("quick"));
  say("{\"return\": \"prompt\", \"id\": 3}\r\n");
  EXPECT_EQ(next.get(), "\"prompt\"");
}

TEST_F(QmpSession, FailsAllCallsAtOnceWhenTheConnectionEnds) {
  negotiate();
  auto first = start(qmp_->execute("a", "", Deadline::never()));
  auto second = start(qmp_->execute("b", "", Deadline::never()));
  auto event = start(qmp_->next_event(Deadline::never()));
  hear();
  hear();
  peer_.reset();
  EXPECT_THAT(error_of(std::move(first), Error::Kind::host), HasSubstr("connection has ended"));
  EXPECT_THAT(error_of(std::move(second), Error::Kind::host), HasSubstr("connection has ended"));
  EXPECT_EQ(event.get(), std::nullopt);
  auto later = start(qmp_->execute("c", "", Deadline::never()));
  EXPECT_THAT(error_of(std::move(later), Error::Kind::host), HasSubstr("connection has ended"));
}

TEST_F(QmpSession, FailsItsCallersWithTheGarbageThatCame) {
  auto done = start(qmp_->negotiate(Deadline::after(5s)));
  say("qemu-system-x86_64: oh no\n");
  EXPECT_THAT(error_of(std::move(done), Error::Kind::host), HasSubstr("qemu-system-x86_64: oh no"));
}

TEST_F(QmpSession, GivesUpOnAPeerThatNeverGreets) {
  auto done = start(qmp_->negotiate(Deadline::after(30ms)));
  EXPECT_THAT(error_of(std::move(done), Error::Kind::timeout), HasSubstr("QMP greeting"));
}

TEST_F(QmpSession, KeepsTheNewestEventsOfAFlood) {
  negotiate();
  std::string flood;
  for (int i = 0; i < 3000; ++i) flood += "{\"event\": \"E" + std::to_string(i) + "\"}\r\n";
  std::size_t sent = 0;
  while (sent < flood.size()) {
    ssize_t count = ::send(peer_.get(), flood.data() + sent, flood.size() - sent, MSG_NOSIGNAL);
    ASSERT_GT(count, 0);
    sent += count;
  }
  // A command after the flood shows that all of it has been read.
  auto reply = start(qmp_->execute("a", "", Deadline::after(5s)));
  hear();
  say("{\"return\": {}, \"id\": 2}");
  reply.get();
  EXPECT_EQ(qmp_->dropped_events(), 3000u - 1024u);
  EXPECT_EQ(start(qmp_->next_event(Deadline::after(5s))).get()->name, "E1976");
}

TEST_F(QmpSession, EndsCleanlyWithACallUnderWay) {
  negotiate();
  auto reply = start(qmp_->execute("a", "", Deadline::never()));
  hear();
  on_loop([this] { qmp_->close(); });
  EXPECT_THAT(error_of(std::move(reply), Error::Kind::host), HasSubstr("connection has ended"));
}

}  // namespace
}  // namespace attest::proto
