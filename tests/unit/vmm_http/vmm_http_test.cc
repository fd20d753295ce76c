// The client of the monitors' APIs against a scripted server.
#include "lib/proto/vmm_http.h"

#include "error_of.h"
#include "lib/async/loop.h"
#include "peer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <chrono>
#include <optional>

namespace attest::proto {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* no_content = "HTTP/1.1 204 No Content\r\nServer: Firecracker API\r\n\r\n";

std::string reply(const std::string& status, const std::string& body) {
  return "HTTP/1.1 " + status +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

class VmmHttpTest : public testing::Test {
 protected:
  ~VmmHttpTest() override {
    struct Once {
      static Task<void> run(VmmHttpTest* self) {
        self->http_.reset();
        co_return;
      }
    };
    loop_.run(Once::run(this));
  }
  void serve(std::vector<ScriptedServer::Script> scripts) {
    server_.emplace(std::move(scripts));
    http_.emplace(loop_.executor(), server_->path());
  }
  HttpReply put(const std::string& body, std::chrono::nanoseconds limit = 10s) {
    return loop_.run(http_->request("PUT", "/thing", body, Deadline::after(limit)));
  }
  HttpReply get(std::chrono::nanoseconds limit = 10s) {
    return loop_.run(http_->request("GET", "/thing", "", Deadline::after(limit)));
  }
  /// What a request comes to when the server says `bytes` and hangs up.
  std::string error_for(Error::Kind kind, const std::string& bytes) {
    serve({[bytes](ServedPeer& peer) {
      peer.hear();
      peer.say(bytes);
    }});
    return error_of(kind, [&] { get(); });
  }

  async::Loop loop_;
  std::optional<ScriptedServer> server_;
  std::optional<VmmHttp> http_;
};

TEST_F(VmmHttpTest, SendsABodyWithItsLengthAndKeepsTheConnection) {
  std::string first, second;
  serve({[&](ServedPeer& peer) {
    first = peer.hear();
    peer.say(no_content);
    second = peer.hear();
    peer.say(reply("200 OK", R"({"state":"Running"})"));
    peer.wait_end();
  }});
  EXPECT_EQ(put(R"({"a":1})").status, 204);
  auto answer = get();
  EXPECT_TRUE(answer.ok());
  EXPECT_EQ(answer.body, R"({"state":"Running"})");
  EXPECT_THAT(first, StartsWith("PUT /thing HTTP/1.1\r\nHost: "));
  EXPECT_THAT(first, HasSubstr("\r\nContent-Length: 7\r\n"));
  EXPECT_THAT(first, EndsWith("\r\n\r\n{\"a\":1}"));
  EXPECT_THAT(second, StartsWith("GET /thing HTTP/1.1\r\n"));
  EXPECT_THAT(second, Not(HasSubstr("Content-Length")));
}

TEST_F(VmmHttpTest, ReturnsARefusalWithAnEmptyReasonAndABodyThatIsNoJson) {
  std::string body = "{ \"error\": \"too large.\nAll previous unanswered requests dropped.\" }";
  serve({[&](ServedPeer& peer) {
    peer.hear();
    peer.say(reply("400 ", body));
    peer.hear();
    peer.say("HTTP/1.1 503\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy");
  }});
  auto refused = put("{}");
  EXPECT_EQ(refused.status, 400);
  EXPECT_FALSE(refused.ok());
  EXPECT_EQ(refused.body, body);
  auto busy = get();
  EXPECT_EQ(busy.status, 503);
  EXPECT_EQ(busy.body, "busy");
}

TEST_F(VmmHttpTest, PassesOver100ContinueAndJoinsChunksThatComeInPieces) {
  serve({[](ServedPeer& peer) {
    peer.hear();
    for (const char* piece :
         {"HTTP/1.1 100 Continue\r\n\r\nHTT", "P/1.1 200 OK\r\nTransfer-Enc", "oding: chunked\r\n",
          "\r\n3\r\nabc\r", "\n4\r\ndefg\r\n0", "\r\n\r\n"})
      peer.say(piece);
    peer.wait_end();
  }});
  EXPECT_EQ(put("{}").body, "abcdefg");
}

TEST_F(VmmHttpTest, ReadsABodyThatEndsWithTheConnectionAndConnectsAgain) {
  serve({[](ServedPeer& peer) {
           peer.hear();
           peer.say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
         },
         [](ServedPeer& peer) {
           peer.hear();
           peer.say(no_content);
           peer.wait_end();
         }});
  EXPECT_EQ(get().body, "all of it");
  EXPECT_EQ(get().status, 204);
}

TEST_F(VmmHttpTest, ConnectsAgainWhenAnIdleConnectionHasEnded) {
  serve({[](ServedPeer& peer) {
           peer.hear();
           peer.say(no_content);
         },
         [](ServedPeer& peer) {
           peer.hear();
           peer.say(reply("200 OK", "second"));
           peer.wait_end();
         }});
  EXPECT_EQ(get().status, 204);
  // The server has hung up, or is about to: then this request is the one that fails.
  HttpReply second;
  try {
    second = get();
  } catch (const Error&) {
    second = get();
  }
  EXPECT_EQ(second.body, "second");
}

TEST_F(VmmHttpTest, TakesAReplyThatCameBeforeTheRequest) {
  serve({[](ServedPeer& peer) {
    peer.say(
        "HTTP/1.1 503 \r\nConnection: close\r\nContent-Length: 45\r\n\r\n"
        "{ \"error\": \"Too many open connections\" }     ");
    peer.hear();
  }});
  auto busy = get();
  EXPECT_EQ(busy.status, 503);
  EXPECT_THAT(busy.body, HasSubstr("Too many open connections"));
}

TEST_F(VmmHttpTest, SaysThatAConnectionEndedWithoutOrWithinAReply) {
  EXPECT_THAT(error_for(Error::Kind::host, ""), HasSubstr("ended without a reply"));
  auto cut = error_for(Error::Kind::host, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"half");
  EXPECT_THAT(cut, HasSubstr("in the middle of the reply 'HTTP/1.1 200 OK"));
  EXPECT_THAT(cut, HasSubstr("GET /thing"));
}

TEST_F(VmmHttpTest, QuotesWhatIsNoHttp) {
  EXPECT_THAT(error_for(Error::Kind::protocol, "220 smtp\x1b[31m ready\r\n\r\n"),
              HasSubstr("is not HTTP"));
  auto long_line = error_for(Error::Kind::protocol, std::string(5000, 'x'));
  EXPECT_THAT(long_line, HasSubstr("'xxxx"));
  EXPECT_LT(long_line.size(), 1000u);
  EXPECT_THAT(error_for(Error::Kind::protocol, "HTTP/1.1 abc OK\r\n\r\n"), HasSubstr("not HTTP"));
  EXPECT_THAT(error_for(Error::Kind::protocol, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
              HasSubstr("not HTTP"));
}

TEST_F(VmmHttpTest, RefusesAHeadOrABodyWithoutEnd) {
  std::string head = "HTTP/1.1 200 OK\r\n";
  while (head.size() < (1 << 20)) head += "X-More: " + std::string(500, 'y') + "\r\n";
  EXPECT_THAT(error_for(Error::Kind::protocol, head), HasSubstr("head of more than 64 KiB"));
  EXPECT_THAT(
      error_for(Error::Kind::protocol, "HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\nx"),
      HasSubstr("body of more than 8 MiB"));
}

TEST_F(VmmHttpTest, TakesABodyOfManyReads) {
  std::string body(3 << 20, 'z');
  serve({[&](ServedPeer& peer) {
    EXPECT_THAT(peer.hear(), EndsWith(body));
    peer.say(reply("200 OK", body));
    peer.wait_end();
  }});
  EXPECT_EQ(put(body).body, body);
}

TEST_F(VmmHttpTest, GivesASilentServerUpAtTheDeadlineAndStartsAnew) {
  serve({[](ServedPeer& peer) {
           peer.hear();
           peer.wait_end();
         },
         [](ServedPeer& peer) {
           peer.hear();
           peer.say(no_content);
           peer.wait_end();
         }});
  EXPECT_THAT(error_of(Error::Kind::timeout, [&] { put("{}", 50ms); }), HasSubstr("PUT /thing"));
  EXPECT_EQ(put("{}").status, 204);
}

TEST_F(VmmHttpTest, LetsRequestsWaitForEachOther) {
  serve({[](ServedPeer& peer) {
    for (int i = 0; i < 3; ++i) {
      std::string request = peer.hear();
      peer.say(reply("200 OK", request.substr(request.find("\r\n\r\n") + 4)));
    }
    peer.wait_end();
  }});
  std::vector<std::future<HttpReply>> replies;
  for (const char* body : {"one", "two", "three"})
    replies.push_back(asio::co_spawn(loop_.executor(),
                                     http_->request("PUT", "/x", body, Deadline::after(10s)),
                                     asio::use_future));
  EXPECT_EQ(replies[0].get().body, "one");
  EXPECT_EQ(replies[1].get().body, "two");
  EXPECT_EQ(replies[2].get().body, "three");
}

TEST_F(VmmHttpTest, SendsDescriptorsWithTheFirstBytes) {
  ino_t inode = 0;
  serve({[&](ServedPeer& peer) {
    char byte;
    char control[CMSG_SPACE(sizeof(int))];
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ASSERT_EQ(::recvmsg(peer.fd(), &message, 0), 1);
    ASSERT_NE(CMSG_FIRSTHDR(&message), nullptr);
    int number = -1;
    std::memcpy(&number, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof number);
    base::Fd received(number);
    struct stat status{};
    ASSERT_EQ(::fstat(received.get(), &status), 0);
    inode = status.st_ino;
    peer.hear();
    peer.say(no_content);
    peer.wait_end();
  }});
  auto pipe = base::make_pipe();
  struct stat status{};
  ASSERT_EQ(::fstat(pipe.first.get(), &status), 0);
  std::vector<int> descriptors{pipe.first.get()};
  auto answer = loop_.run(
      http_->request_with("PUT", "/api/v1/vm.add-net", "{}", descriptors, Deadline::after(10s)));
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(inode, status.st_ino);
}

TEST_F(VmmHttpTest, TellsWhoIsNotThere) {
  VmmHttp nobody(loop_.executor(), "/nonexistent/api.sock");
  EXPECT_FALSE(nobody.connect());
  auto words = error_of(Error::Kind::host,
                        [&] { loop_.run(nobody.request("GET", "/", "", Deadline::after(1s))); });
  EXPECT_THAT(words, HasSubstr("nobody listens"));
  VmmHttp unreachable(loop_.executor(), "/" + std::string(120, 'a'));
  EXPECT_THAT(error_of(Error::Kind::host, [&] { unreachable.connect(); }),
              HasSubstr("121 bytes, the limit is 107"));
}

TEST_F(VmmHttpTest, FailsTheRequestUnderWayWhenItIsClosed) {
  std::promise<void> asked;
  serve({[&](ServedPeer& peer) {
    peer.hear();
    asked.set_value();
    peer.wait_end();
  }});
  auto waiting = asio::co_spawn(
      loop_.executor(), http_->request("GET", "/x", "", Deadline::never()), asio::use_future);
  asked.get_future().get();
  asio::post(loop_.executor(), [&] { http_->close(); });
  EXPECT_THAT(error_of(Error::Kind::host, [&] { waiting.get(); }), HasSubstr("was closed"));
}

}  // namespace
}  // namespace attest::proto
