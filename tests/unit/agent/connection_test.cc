// Frames, windows, hellos and what breaks them, against the agent's real program.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>

#include "tests/unit/agent/peer.h"

namespace attest::agent_test {
namespace {

using proto::AgentFrameType;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::chrono_literals;

TEST(AgentConnection, GreetsWithTheMachineAndTheBoot) {
  Agent agent;
  Peer peer = agent.connect();
  EXPECT_EQ(peer.greeting().version, 1);
  EXPECT_THAT(peer.greeting().machine, ::testing::AnyOf("x86_64", "aarch64"));
  EXPECT_EQ(peer.greeting().boot_id + "\n", base::read_file("/proc/sys/kernel/random/boot_id"));
  peer.settle();
}

TEST(AgentConnection, AnUnknownOperationIsAnErrorOfItsStream) {
  Agent agent;
  Peer peer = agent.connect();
  EXPECT_THAT(peer.call({{"op", "dance"}}).result(""),
              HasSubstr("unsupported: this agent knows no operation 'dance'"));
  EXPECT_THAT(peer.call({}).result(""), HasSubstr("unsupported"));
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
}

TEST(AgentConnection, WhatCannotBeUnderstoodIsAnErrorAndItGoesOn) {
  Agent agent;
  Peer peer = agent.connect();
  const auto says = [&](std::uint32_t stream, std::string_view text) {
    EXPECT_THAT(peer.wait(stream).result(""), HasSubstr(std::string(text)));
    peer[stream] = {};
  };
  peer.raw(proto::agent_frame(static_cast<AgentFrameType>(99), 5, "x"));
  says(5, "protocol: a frame of type 99");
  peer.raw(proto::agent_frame(AgentFrameType::done, 6));
  says(6, "a frame of type 6");
  peer.raw(proto::agent_frame(AgentFrameType::open, 7, "\1"));
  says(7, "cut off");
  peer.open_as(0, sleeping);
  says(0, "stream 0");
  peer.open_as(8, sleeping);
  const auto pid = pid_of(peer, 8);
  peer.raw(proto::agent_frame(AgentFrameType::open, 8, sleeping.encode()));
  says(8, "in use");
  until_dead(pid);
  struct Wrong {
    std::string frame;
    std::string_view text;
  };
  for (auto& [frame, text] : std::vector<Wrong>{
           {proto::agent_frame(AgentFrameType::data, 9), "without a channel"},
           {proto::agent_frame(AgentFrameType::data, 9, "\1x"), "takes none"},
           {proto::agent_frame(AgentFrameType::data, 9, Bytes(65538, '\0')), "64 KiB"},
           {proto::agent_frame(AgentFrameType::end, 9), "takes no data"},
           {proto::agent_frame(AgentFrameType::end, 9, "\2"), "takes no data"},
           {proto::agent_frame(AgentFrameType::window, 9, "abc"), "four bytes"},
           {proto::agent_frame(AgentFrameType::event, 9, "\1"), "cut off"},
           {proto::agent_end(9, 0) + proto::agent_data_head(9, 0, 1) + "x", "takes none"}}) {
    peer.open_as(9, sleeping);
    peer.raw(frame);
    says(9, text);
  }
  // For a stream that is over: they may have crossed its end.
  peer.raw(proto::agent_data_head(99, 0, 1) + "x" + proto::agent_end(99, 0) +
           proto::agent_window_frame(99, 1) + proto::agent_frame(AgentFrameType::cancel, 99) +
           proto::agent_frame(AgentFrameType::event, 99, "\1"));
  peer.settle();
  EXPECT_FALSE(peer[99].over());
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
}

TEST(AgentConnection, DataBeyondTheWindowIsAnError) {
  Agent agent;
  Peer peer = agent.connect();
  auto fields = sleeping;
  fields.add("stdin", "1");
  auto stream = peer.open(fields);
  const Bytes block = proto::agent_data_head(stream, 0, 65536) + Bytes(65536, 'x');
  for (int i = 0; i < 18; ++i) peer.raw(block);  // 64 KiB of it go into the pipe
  EXPECT_THAT(peer.wait(stream).result(""), HasSubstr("overruns"));
  peer.settle();
}

TEST(AgentConnection, AFrameTooLongEndsAllUntilTheNextHello) {
  Agent agent;
  Peer peer = agent.connect();
  auto stream = peer.open(sleeping);
  const auto pid = pid_of(peer, stream);
  peer.raw(Bytes("\xff\xff\xff\xff\1\0\0\0\1", 9));
  EXPECT_THAT(peer.wait(0).result(""), HasSubstr("protocol: a frame of 4294967295 bytes"));
  until_dead(pid);
  peer.raw("whatever comes then\n" + Bytes(100'000, 'z'));
  peer.hello("fedcba9876543210");
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
}

TEST(AgentConnection, ASecondHelloEndsWhatTheFirstBegan) {
  Agent agent;
  Peer peer = agent.connect();
  for (const char* nonce : {"1111111111111111", "2222222222222222", "3333333333333333"}) {
    auto stream = peer.open(sleeping);
    const auto pid = pid_of(peer, stream);
    peer.hello(nonce);
    until_dead(pid);
    EXPECT_EQ(peer.shell("echo on").out(), "on\n");
    auto kept = peer.open(sleeping);
    const auto other = pid_of(peer, kept);
    peer.hello(nonce);  // changes nothing
    EXPECT_EQ(peer.shell("kill -0 " + std::to_string(other) + " && echo on").out(), "on\n");
  }
}

TEST(AgentConnection, AQuestionEndsWhatAHelloBeganAndIsGreetedOnce) {
  Agent agent;
  Peer peer = agent.connect();
  for (const char* nonce : {"1111111111111111", "2222222222222222", "3333333333333333"}) {
    auto stream = peer.open(sleeping);
    const auto pid = pid_of(peer, stream);
    peer.ask(nonce);
    peer.expect_greeting();
    EXPECT_EQ(peer.greeting().nonce, nonce);
    until_dead(pid);
    peer.ask(nonce);  // a slow guest reads several
    peer.hello(nonce);
    EXPECT_EQ(peer.shell("echo on").out(), "on\n");
    peer.ask(nonce);
    EXPECT_EQ(peer.shell("echo on").out(), "on\n");
  }
}

TEST(AgentConnection, AQuestionIsAnsweredThoughAGreetingWaitsForItsHello) {
  Agent agent;
  Peer peer = agent.connect();
  for (const char* nonce : {"1111111111111111", "2222222222222222"}) {
    peer.ask(nonce);
    peer.expect_greeting();
    EXPECT_EQ(peer.greeting().nonce, nonce);
  }
  peer.hello("3333333333333333");
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
}

TEST(AgentConnection, AQuestionIsHeardInTheMiddleOfAFrame) {
  Agent agent;
  Peer peer = agent.connect();
  auto stream = peer.open(sleeping);
  const auto pid = pid_of(peer, stream);
  peer.raw(proto::agent_frame(AgentFrameType::ping, 0, Bytes(5000, 'p')).substr(0, 3000));
  peer.ask("1111111111111111");
  peer.expect_greeting();
  peer.hello("2222222222222222");
  until_dead(pid);
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
}

TEST(AgentConnection, CommandsEndWithTheirConnection) {
  Agent agent;
  Peer other = agent.connect();
  pid_t pid = 0;
  {
    Peer peer = agent.connect();
    auto stream = peer.open({{"op", "run"}, {"shell", "trap '' TERM HUP; sleep 1000"}});
    pid = pid_of(peer, stream);
  }
  until_dead(pid);
  EXPECT_EQ(other.shell("echo on").out(), "on\n");
}

TEST(AgentConnection, GarbageAtAnyPointHurtsOnlyItsConnection) {
  Agent agent;
  Peer steady = agent.connect();
  auto stream = steady.open(sleeping);
  std::mt19937 random(20);
  const Bytes good =
      proto::agent_hello("abc") +
      proto::agent_frame(AgentFrameType::open, 1,
                         AgentFields{{"op", "run"}, {"shell", "cat"}, {"stdin", "1"}}.encode()) +
      proto::agent_data_head(1, 0, 3) + "abc" + proto::agent_end(1, 0);
  for (int round = 0; round < 200; ++round) {
    auto fd = agent.connect_raw();
    Bytes sent = good.substr(0, random() % (good.size() + 1));  // cut at every byte, in the end
    if (round % 2 == 0)
      for (std::size_t i = random() % 200; i > 0; --i) sent += static_cast<char>(random());
    if (round % 3 == 0 && !sent.empty()) sent[random() % sent.size()] = static_cast<char>(random());
    ASSERT_EQ(write(fd.get(), sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
  }
  steady.settle();
  EXPECT_FALSE(steady[stream].over());
  EXPECT_LT(agent.process().peak_rss_kib(), 4000);
}

TEST(AgentConnection, ASlowHostOfOneByteIsServed) {
  Agent agent;
  Peer other = agent.connect();
  Peer peer = agent.connect();
  for (char c : proto::agent_frame(AgentFrameType::open, 50,
                                   AgentFields{{"op", "run"}, {"shell", "echo x"}}.encode())) {
    peer.raw(std::string_view(&c, 1));
    other.settle();
  }
  EXPECT_EQ(peer.wait(50).out(), "x\n");
}

TEST(AgentConnection, RefusesStreamsBeyondItsLimit) {
  Agent agent;
  Peer peer = agent.connect();
  // They wait for a file that never comes, so that they cost no processes.
  std::vector<std::uint32_t> streams;
  for (int i = 0; i < 4097; ++i)
    streams.push_back(peer.open({{"op", "wait"}, {"for", "port"}, {"port", "1"}}));
  EXPECT_THAT(peer.wait(streams.back()).result(""), HasSubstr("4096 streams"));
  EXPECT_FALSE(peer[streams.front()].over());
  peer.hang_up();
  Peer next = agent.connect();
  next.settle();
}

TEST(AgentConnection, AReaderThatHasStoppedStopsOnlyItsStream) {
  Agent agent;
  Peer peer = agent.connect();
  auto stalled = peer.open({{"op", "run"}, {"argv", "cat"}, {"argv", "/dev/zero"}});
  peer.stall(stalled);
  peer.until([&] { return peer[stalled].sizes[1] == proto::agent_window; });
  for (int i = 0; i < 5; ++i) EXPECT_EQ(peer.shell("echo on").out(), "on\n");
  EXPECT_EQ(peer.shell("head -c 5000000 /dev/zero").out().size(), 5'000'000u);
  EXPECT_EQ(peer[stalled].sizes[1], proto::agent_window);
  peer.cancel(stalled);
  EXPECT_EQ(peer.wait(stalled).code(), -SIGTERM);
  EXPECT_LT(agent.process().peak_rss_kib(), 4000);
}

TEST(AgentConnection, FloodsTakeTurns) {
  Agent agent;
  Peer peer = agent.connect();
  std::uint32_t floods[4];
  std::size_t before[4];
  for (auto& flood : floods) {
    flood = peer.open({{"op", "run"}, {"argv", "cat"}, {"argv", "/dev/zero"}});
    peer.discard(flood);
  }
  for (auto flood : floods) peer.until([&] { return peer[flood].sizes[1] > 0; });
  for (int i = 0; i < 4; ++i) before[i] = peer[floods[i]].sizes[1];
  peer.until([&] { return peer[floods[0]].sizes[1] - before[0] > 100'000'000; });
  for (int i = 0; i < 4; ++i) {
    // How fast each cat writes is up to this machine's scheduler.
    EXPECT_GT(peer[floods[i]].sizes[1] - before[i], 10'000'000u);
    peer.cancel(floods[i]);
  }
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
}

TEST(AgentConnection, TwoGigabytesPassInLittleMemory) {
  Agent agent;
  Peer peer = agent.connect();
  auto stream = peer.open({{"op", "run"}, {"shell", "head -c 2000000000 /dev/zero; echo end >&2"}});
  peer.discard(stream);
  EXPECT_EQ(peer.wait(stream).code(), 0);
  EXPECT_EQ(peer[stream].sizes[1], 2'000'000'000u);
  EXPECT_EQ(peer[stream].sizes[2], 4u);
  EXPECT_LT(agent.process().peak_rss_kib(), 3000);
}

TEST(AgentConnection, AHostThatReadsNothingDoesNotMakeItGrow) {
  Agent agent;
  auto fd = agent.connect_raw();
  fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  Bytes flood = proto::agent_hello("abc");
  const Bytes ping = proto::agent_frame(AgentFrameType::ping, 0, Bytes(100'000, 'p'));
  for (int i = 0; i < 300; ++i) flood += ping;
  std::size_t sent = 0;
  for (int idle = 0; sent < flood.size() && idle < 50;) {
    const auto count = write(fd.get(), flood.data() + sent, flood.size() - sent);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
      idle = 0;
    } else {
      ++idle;
      usleep(10'000);
    }
  }
  EXPECT_LT(sent, flood.size()) << "it went on reading";
  EXPECT_LT(agent.process().peak_rss_kib(), 8000);
  Peer other = agent.connect();
  other.settle();
}

TEST(AgentConnection, RunsOutOfDescriptorsWithAnError) {
  Agent agent([] {
    rlimit few{40, 40};
    setrlimit(RLIMIT_NOFILE, &few);
  });
  Peer peer = agent.connect();
  std::vector<std::uint32_t> streams;
  for (int i = 0; i < 40; ++i) streams.push_back(peer.open(sleeping));
  for (auto stream : streams)
    peer.until([&] { return peer[stream].over() || !peer[stream].events.empty(); });
  int refused = 0;
  for (auto stream : streams) {
    if (!peer[stream].over()) {
      peer.cancel(stream);
      continue;
    }
    ++refused;
    EXPECT_THAT(peer[stream].result(""), HasSubstr("Too many open files"));
  }
  EXPECT_GT(refused, 5);
  EXPECT_LT(refused, 40);
  for (auto stream : streams) peer.wait(stream);
  EXPECT_EQ(peer.call({{"op", "run"}, {"argv", "true"}}).code(), 0);
  EXPECT_EQ(peer.shell("echo on").out(), "on\n");
}

}  // namespace
}  // namespace attest::agent_test
