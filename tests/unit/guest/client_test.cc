// The client against peers that break the protocol: it says so, and goes on where it can.
#include "lib/async/within.h"
#include "lib/proto/agent.h"
#include "tests/unit/shell/peer.h"

namespace attest::proto {
namespace {

using namespace std::chrono_literals;
using guest::in;
using ::testing::HasSubstr;
using Kind = Error::Kind;
using Type = AgentFrameType;

const std::string greeting = agent_greeting("x86_64", "boot-1");

// A peer that says what the test tells it to.
class Hostile : public ::testing::Test {
 public:  // for the coroutines of the tests
  Hostile() {
    base::Fd ours;
    std::tie(ours, theirs_) = base::stream_pair();
    loop.run(begin(this, std::move(ours)));
  }
  ~Hostile() override {
    loop.run([](Hostile* self) -> Task<void> {
      self->stream.reset();
      self->agent.reset();
      self->peer.reset();
      co_return;
    }(this));
  }

  void say(std::string bytes) { loop.run(say_now(this, std::move(bytes))); }
  void greet() {
    say(greeting);
    loop.run(agent->wait_greeted(in(5s)));
  }
  std::unique_ptr<AgentStream> open() { return loop.run(open_now(this)); }
  std::optional<AgentNews> next(std::chrono::milliseconds limit = 5s) {
    return loop.run(stream->next(in(limit)));
  }
  Error failure(std::chrono::milliseconds limit = 5s) {
    try {
      for (;;)
        if (!next(limit)) return Error(Kind::usage, "nothing came");
    } catch (const Error& error) {
      return error;
    }
  }
  // What the client has sent, once it holds `part`.
  std::string heard(std::string part) { return loop.run(hear(this, std::move(part))); }

  async::Loop loop;
  std::unique_ptr<Agent> agent;
  std::unique_ptr<AgentStream> stream;
  std::unique_ptr<Stream> peer;
  std::string heard_;

 private:
  static Task<void> begin(Hostile* self, base::Fd ours) {
    auto executor = self->loop.executor();
    self->agent = std::make_unique<Agent>(executor, async::make_stream(executor, std::move(ours)));
    self->peer = async::make_stream(executor, std::move(self->theirs_));
    co_return;
  }
  static Task<void> say_now(Hostile* self, std::string bytes) {
    co_await self->peer->write_all(bytes);
  }
  static Task<std::unique_ptr<AgentStream>> open_now(Hostile* self) {
    AgentFields fields{{"op", "run"}, {"shell", "x"}};
    co_return self->agent->open(fields);
  }
  static Task<std::string> hear(Hostile* self, std::string part) {
    std::vector<char> buffer(1 << 16);
    while (self->heard_.find(part) == std::string::npos) {
      auto count =
          co_await async::within(in(5s), "hearing the host", self->peer->read_some(buffer));
      self->heard_.append(buffer.data(), count);
    }
    co_return self->heard_;
  }
  base::Fd theirs_;
};

std::string data(std::uint32_t stream, std::string bytes, std::uint8_t channel = agent_output) {
  return agent_data_head(stream, channel, bytes.size()) + bytes;
}
std::string done(std::uint32_t stream) {
  return agent_frame(Type::done, stream, AgentFields{{"code", "0"}}.encode());
}

TEST_F(Hostile, IsGreetedThroughNoiseByteByByte) {
  for (char c : "noise \xff\n ATTEST-AGENT/ x\n" + greeting) say(std::string(1, c));
  loop.run(agent->wait_greeted(in(5s)));
  EXPECT_EQ(agent->greeting().machine, "x86_64");
  EXPECT_THAT(heard("ATTEST-HOST/1 "), HasSubstr("\nATTEST-HOST/1 "));
}

TEST_F(Hostile, SaysWhatCameInsteadOfAGreeting) {
  say("login: \n");
  try {
    loop.run(agent->wait_greeted(in(300ms)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Kind::timeout);
    EXPECT_THAT(error.what(), HasSubstr("| login:"));
  }
}

TEST_F(Hostile, RefusesAnotherVersion) {
  say("\nATTEST-AGENT/2 machine=x\n");
  try {
    loop.run(agent->wait_greeted(in(5s)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Kind::protocol);
    EXPECT_THAT(error.what(), HasSubstr("version 2"));
  }
}

TEST_F(Hostile, TakesFramesCutAtEveryByte) {
  greet();
  const std::string bytes = data(1, "out") + agent_end(1, agent_output) + done(1);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    stream = open();
    std::string mine = bytes;
    // The streams' numbers count up from 1.
    auto number = static_cast<char>(cut + 1);
    for (std::size_t at : {std::size_t{8}, std::size_t{8 + 13}, std::size_t{8 + 13 + 10}})
      mine[at] = number;
    say(mine.substr(0, cut));
    say(mine.substr(cut));
    EXPECT_EQ(std::get<AgentData>(*next()).bytes, "out") << cut;
    EXPECT_EQ(std::get<AgentEnd>(*next()).channel, agent_output);
    EXPECT_EQ(std::get<AgentDone>(*next()).fields.number("code"), 0);
  }
}

TEST_F(Hostile, FailsAtALengthOverTheLimitAndServesTheNextGreeting) {
  greet();
  stream = open();
  say(std::string("\xff\xff\xff\xff\x02\0\0\0\1", 9));
  auto error = failure();
  EXPECT_EQ(error.kind(), Kind::protocol);
  EXPECT_THAT(error.what(), HasSubstr("4294967295 bytes"));
  EXPECT_THROW(open(), Error);
  say(greeting);
  loop.run(agent->wait_greeted(in(5s)));
  stream = open();
  say(done(2));
  EXPECT_TRUE(std::holds_alternative<AgentDone>(*next()));
}

TEST_F(Hostile, IgnoresStreamsThatItDoesNotKnow) {
  greet();
  stream = open();
  say(data(7, "x") + done(9) + agent_frame(Type::event, 3, "junk") + done(1) + done(1) +
      data(1, "late") + agent_frame(static_cast<Type>(77), 1, "?"));
  EXPECT_TRUE(std::holds_alternative<AgentDone>(*next()));
  EXPECT_TRUE(std::holds_alternative<AgentDone>(*next()));  // the same again, nothing after it
}

TEST_F(Hostile, FailsOneStreamForWhatIsWrongWithIt) {
  greet();
  struct Row {
    std::string frame;
    const char* what;
  };
  std::string flood;
  for (int i = 0; i < 17; ++i) flood += data(3, std::string(64 << 10, 'x'));
  // The streams' numbers count up from 1.
  for (auto& [frame, what] : {Row{agent_frame(Type::data, 1), "data without a channel"},
                              Row{agent_frame(Type::event, 2, "abc"), "fields that are none"},
                              Row{flood, "more data than its window"},
                              Row{agent_frame(Type::error, 4, "x"), "an error without a text"}}) {
    stream = open();
    say(frame);
    auto error = failure();
    EXPECT_EQ(error.kind(), Kind::protocol) << what;
    EXPECT_THAT(error.what(), HasSubstr(what));
  }
  stream = open();
  say(done(5));
  EXPECT_TRUE(std::holds_alternative<AgentDone>(*next()));
}

TEST_F(Hostile, ThrowsTheAgentsErrorsAsTheyAre) {
  greet();
  stream = open();
  AgentFields fields{{"kind", "unsupported"}, {"text", "no \x1b[31msystemd"}};
  say(data(1, "so far") + agent_frame(Type::error, 1, fields.encode()));
  EXPECT_EQ(std::get<AgentData>(*next()).bytes, "so far");
  auto error = failure();
  EXPECT_EQ(error.kind(), Kind::unsupported);
  EXPECT_TRUE(stream->refused());
  EXPECT_EQ(std::string(error.what()).find('\x1b'), std::string::npos);
}

TEST_F(Hostile, FailsEverythingWhenTheConnectionEnds) {
  greet();
  stream = open();
  say(data(1, "some").substr(0, 11));
  loop.run([](Hostile* self) -> Task<void> {
    self->peer->close();
    co_return;
  }(this));
  EXPECT_EQ(failure().kind(), Kind::host);
  EXPECT_THROW(open(), Error);
}

TEST_F(Hostile, WaitsForASlowPeerUntilItsDeadlineOnly) {
  greet();
  stream = open();
  for (char c : data(1, "x").substr(0, 5)) {
    say(std::string(1, c));
    EXPECT_FALSE(next(30ms));
  }
}

struct Restart {
  const char* name;
  std::string before;
};
class RestartOf : public Hostile, public ::testing::WithParamInterface<Restart> {};
INSTANTIATE_TEST_SUITE_P(
    , RestartOf,
    ::testing::Values(Restart{"between_frames", ""},
                      Restart{"in_a_head", data(1, "abc").substr(0, 5)},
                      Restart{"in_a_large_frame", data(1, std::string(60'000, 'x')).substr(0, 999)},
                      // The rest of the frame swallows some of the greeting.
                      Restart{"near_a_frames_end", data(1, std::string(20, 'x')).substr(0, 15)},
                      Restart{"after_garbage", "\xff\xff\xff\xff garbage"}),
    [](auto& row) { return std::string(row.param.name); });

TEST_P(RestartOf, FailsWhatRanAndServesAgain) {
  greet();
  stream = open();
  say(GetParam().before);
  say(agent_greeting("x86_64", "boot-2"));
  std::optional<Error> error;
  try {
    for (;;)
      if (!next()) break;
  } catch (const Error& caught) {
    error = caught;
  }
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::guest) << error->what();
  EXPECT_THAT(error->what(), HasSubstr("the guest restarted; what it ran is gone"));
  loop.run(agent->wait_restarted(0, in(5s)));
  EXPECT_EQ(agent->restarts(), 1u);
  EXPECT_EQ(agent->greeting().boot_id, "boot-2");
  stream = open();
  say(done(2));
  EXPECT_TRUE(std::holds_alternative<AgentDone>(*next()));
}

TEST_F(Hostile, TakesOutputThatLooksLikeAGreetingForOutput) {
  greet();
  stream = open();
  say(data(1, greeting));
  EXPECT_EQ(std::get<AgentData>(*next()).bytes, greeting);
  // It is asked whether it is still there, and answers.
  auto asked = heard(agent_frame(Type::ping, 0, std::string("\0\0\0\1", 4)));
  say(agent_frame(Type::pong, 0, std::string("\0\0\0\1", 4)));
  EXPECT_FALSE(next(1500ms));
  EXPECT_EQ(agent->restarts(), 0u);
}

TEST_F(Hostile, CancelsWhatNobodyWantsAndKeepsItFlowing) {
  greet();
  stream = open();
  for (int i = 0; i < 16; ++i) say(data(1, std::string(64 << 10, 'x')));
  loop.run([](Hostile* self) -> Task<void> {
    self->stream.reset();
    co_return;
  }(this));
  heard(agent_frame(Type::cancel, 1));
  heard(agent_window_frame(1, 1 << 20));
  say(data(1, "more"));
  heard(agent_window_frame(1, 4));
}

TEST_F(Hostile, TellsAHangingAgentFromABusyOne) {
  greet();
  EXPECT_FALSE(loop.run(agent->answers(in(200ms))));
  heard(agent_frame(Type::ping, 0, std::string("\0\0\0\1", 4)));
  say(agent_frame(Type::pong, 0, std::string("\0\0\0\2", 4)));
  EXPECT_TRUE(loop.run(agent->answers(in(5s))));
}

TEST_F(Hostile, AnswersPings) {
  greet();
  say(agent_frame(Type::ping, 0, "are you there"));
  heard(agent_frame(Type::pong, 0, "are you there"));
}

}  // namespace
}  // namespace attest::proto
