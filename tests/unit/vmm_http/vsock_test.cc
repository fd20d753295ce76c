// The vsock handshake: its lines as a table, and the client against a scripted monitor.
#include "lib/proto/vsock.h"

#include "error_of.h"
#include "lib/async/fd_stream.h"
#include "lib/async/loop.h"
#include "peer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>

namespace attest::proto {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(VsockLines, AreAsTheMonitorsWantThem) { EXPECT_EQ(vsock_request(1024), "CONNECT 1024\n"); }

struct AnswerCase {
  const char* bytes;
  int length;  // 0: not whole yet, -1: wrong
};
class VsockAnswer : public testing::TestWithParam<AnswerCase> {};
TEST_P(VsockAnswer, IsJudged) {
  auto [bytes, length] = GetParam();
  if (length < 0) {
    EXPECT_THAT(error_of(Error::Kind::protocol, [&] { vsock_answer(bytes); }),
                HasSubstr("expected 'OK <number>'"));
    return;
  }
  auto found = vsock_answer(bytes);
  EXPECT_EQ(found ? int(*found) : 0, length);
}
INSTANTIATE_TEST_SUITE_P(
    , VsockAnswer,
    testing::Values(AnswerCase{"", 0}, AnswerCase{"O", 0}, AnswerCase{"OK 10737", 0},
                    AnswerCase{"OK 1073741824\n", 14}, AnswerCase{"OK 1\nATTEST-AGENT/", 5},
                    AnswerCase{"OK \n", -1}, AnswerCase{"OK 1x", -1}, AnswerCase{"HTTP", -1},
                    AnswerCase{"\n", -1}, AnswerCase{"OK 11111111111111111111111111111111", -1}));

std::string converse(async::Loop& loop, const std::string& path, std::string_view bytes) {
  struct Talk {
    static Task<std::string> run(std::string where, std::string_view request) {
      auto raw = async::make_stream(co_await asio::this_coro::executor, base::connect_unix(where));
      auto stream = co_await vsock_connect(std::move(raw), 1234, Deadline::after(10s));
      co_await stream->write_all(request);
      std::string all;
      std::array<char, 7> buffer;
      while (std::size_t count = co_await stream->read_some(buffer))
        all.append(buffer.data(), count);
      co_return all;
    }
  };
  return loop.run(Talk::run(path, bytes));
}

TEST(VsockConnect, KeepsTheGuestsBytesThatComeWithTheAnswer) {
  async::Loop loop;
  std::string request, word;
  ScriptedServer server({[&](ServedPeer& peer) {
    request = peer.hear_line();
    peer.say("OK 10");
    peer.say("73741824\nSpawning backdoor");
    word = peer.hear_line();
    peer.say(" root shell...\n");
  }});
  EXPECT_EQ(converse(loop, server.path(), "ping\n"), "Spawning backdoor root shell...\n");
  EXPECT_EQ(request, "CONNECT 1234\n");
  EXPECT_EQ(word, "ping\n");
}

TEST(VsockConnect, SaysThatNobodyAnswers) {
  async::Loop loop;
  ScriptedServer server({[](ServedPeer& peer) { peer.hear_line(); }});
  EXPECT_THAT(error_of(Error::Kind::host, [&] { converse(loop, server.path(), ""); }),
              HasSubstr("nobody answers on vsock port 1234"));
}

}  // namespace
}  // namespace attest::proto
