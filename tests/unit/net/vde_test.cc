#include "lib/net/switching/vde_listener.h"

#include "lib/async/child.h"
#include "lib/base/file.h"
#include "lib/net/switching/vde_codec.h"
#include "tests/unit/net/hub.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <gmock/gmock.h>

#include <set>

namespace attest::net {
namespace {

using testing::HasSubstr;

sockaddr_un socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

// A listener whose clients join a hub.
class Vde : public testing::Test {
 protected:
  Vde() {
    on_loop(loop_, [&] {
      made_ = std::make_unique<VdeListener>(loop_.executor(), dir_.path() / "v",
                                            [this](auto port) { hub_.join(std::move(port)); });
      return 0;
    });
  }
  ~Vde() override { destroy(); }

  void destroy() {
    on_loop(loop_, [&] {
      made_.reset();
      return 0;
    });
  }
  std::string dir() const { return (dir_.path() / "v").string(); }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(dir()))
      names.insert(entry.path().filename().string());
    return names;
  }

  base::TempDir dir_;
  async::Loop loop_;
  Hub hub_{loop_};
  std::unique_ptr<VdeListener> made_;
};

// What libvdeplug does, step by step.
class Client {
 public:
  Client(const std::string& dir, const std::string& name)
      : control_(base::connect_unix(dir + "/ctl")) {
    own_ = socket_address(dir + "/" + name);
    data_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    base::check(::bind(data_.get(), reinterpret_cast<sockaddr*>(&own_), sizeof own_), "bind");
  }
  std::string request() const {
    const std::uint32_t words[] = {0xfeedface, 3, 0};
    return std::string(reinterpret_cast<const char*>(words), sizeof words) +
           std::string(reinterpret_cast<const char*>(&own_), sizeof own_) + "by hand";
  }
  void say(std::string_view bytes) const {
    base::check(static_cast<int>(::send(control_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL)),
                "asking");
  }
  // False if the connection ends instead.
  bool connect() const {
    sockaddr_un answer{};
    auto count = ::recv(control_.get(), &answer, sizeof answer, MSG_WAITALL);
    if (count != sizeof answer) return false;
    base::check(::connect(data_.get(), reinterpret_cast<sockaddr*>(&answer), sizeof answer),
                "connecting to the port");
    ::unlink(own_.sun_path);
    return true;
  }
  Wire plug() { return Wire(std::move(data_)); }
  void leave() { control_.reset(); }
  bool is_put_out() const {
    char byte;
    return ::recv(control_.get(), &byte, 1, 0) <= 0;
  }
  void lose_data_socket() {
    data_.reset();
    ::unlink(own_.sun_path);
  }

 private:
  base::Fd control_, data_;
  sockaddr_un own_{};
};

Wire join(Client& client) {
  client.say(client.request());
  EXPECT_TRUE(client.connect());
  return client.plug();
}

TEST_F(Vde, ConnectsClientsWithEachOther) {
  Client first(dir(), ".1-0"), second(dir(), ".2-0"), third(dir(), ".3-0");
  auto one = join(first), two = join(second), three = join(third);
  one.send(frame(0xff, 1, "hello"));
  EXPECT_EQ(two.receive(), frame(0xff, 1, "hello"));
  EXPECT_EQ(three.receive(), frame(0xff, 1, "hello"));
  two.send(frame(1, 2, "a tag stays", 5));
  EXPECT_EQ(one.receive(), frame(1, 2, "a tag stays", 5));
}

TEST_F(Vde, TakesARequestInPieces) {
  Client first(dir(), ".1-0"), second(dir(), ".2-0");
  auto two = join(second);
  for (char byte : first.request()) first.say({&byte, 1});
  ASSERT_TRUE(first.connect());
  first.plug().send(frame(0xff, 1, "slow"));
  EXPECT_EQ(two.receive(), frame(0xff, 1, "slow"));
}

TEST_F(Vde, PutsOutWhoeverSpeaksSomethingElseAndNobodyElse) {
  Client first(dir(), ".1-0"), second(dir(), ".2-0");
  auto one = join(first), two = join(second);
  Client other(dir(), ".3-0"), unreachable(dir(), ".4-0"), silent(dir(), ".5-0");
  other.say("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(other.is_put_out());
  unreachable.lose_data_socket();
  unreachable.say(unreachable.request());
  EXPECT_TRUE(unreachable.is_put_out());
  silent.say(silent.request().substr(0, 50));
  one.send(frame(0xff, 1, "still here"));
  EXPECT_EQ(two.receive(), frame(0xff, 1, "still here"));
  EXPECT_EQ(hub_.joined(), 2u);
  EXPECT_TRUE(silent.is_put_out()) << "after 5 s";
}

TEST_F(Vde, EndsThePortOfAClientThatLeavesBehindItsLastFrames) {
  Client first(dir(), ".1-0"), second(dir(), ".2-0");
  auto one = join(first), two = join(second);
  for (int i = 0; i < 5; ++i) one.send(frame(0xff, 1, "last words " + std::to_string(i)));
  first.leave();
  one.close();
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(two.receive(), frame(0xff, 1, "last words " + std::to_string(i)));
  EXPECT_TRUE(eventually([&] { return hub_.ended() == 1; }));
  EXPECT_TRUE(eventually([&] { return files() == std::set<std::string>{"ctl", "2"}; }));
  Client again(dir(), ".1-0");
  auto back = join(again);
  back.send(frame(0xff, 1, "back"));
  EXPECT_EQ(two.receive(), frame(0xff, 1, "back"));
}

TEST_F(Vde, ShowsAClientThatItsPortIsClosed) {
  Client client(dir(), ".1-0");
  auto plug = join(client);
  hub_.close(0);
  EXPECT_TRUE(client.is_put_out());
}

TEST_F(Vde, HoldsUpNoOtherForAClientThatDoesNotRead) {
  Client first(dir(), ".1-0"), second(dir(), ".2-0"), third(dir(), ".3-0");
  auto one = join(first), two = join(second), stuck = join(third);
  for (int i = 0; i < 5000; ++i) {
    one.send(frame(0xff, 1, std::to_string(i) + std::string(1400, 'x')));
    ASSERT_EQ(two.receive(), frame(0xff, 1, std::to_string(i) + std::string(1400, 'x')));
  }
  EXPECT_TRUE(eventually([&] { return hub_.sent(2).dropped > 0; }));
  EXPECT_EQ(hub_.sent(1).dropped, 0u);
}

TEST_F(Vde, RemovesItsDirectoryAndLeavesItsPorts) {
  struct stat about{};
  ASSERT_EQ(::stat(dir().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0700u);
  Client first(dir(), ".1-0"), second(dir(), ".2-0"), late(dir(), ".3-0");
  auto one = join(first), two = join(second);
  late.say(late.request().substr(0, 50));
  destroy();
  EXPECT_FALSE(std::filesystem::exists(dir()));
  EXPECT_TRUE(late.is_put_out());
  one.send(frame(0xff, 1, "goes on"));
  EXPECT_EQ(two.receive(), frame(0xff, 1, "goes on"));
}

TEST_F(Vde, ReplacesWhatWasLeftOver) {
  std::filesystem::create_directory(dir_.path() / "old");
  base::write_file(dir_.path() / "old" / "1", "left over");
  auto listener = on_loop(loop_, [&] {
    return std::make_unique<VdeListener>(loop_.executor(), dir_.path() / "old", [](auto) {});
  });
  EXPECT_EQ(listener->dir(), dir_.path() / "old");
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "old" / "1"));
  EXPECT_TRUE(std::filesystem::exists(dir_.path() / "old" / "ctl"));
  on_loop(loop_, [&] {
    listener.reset();
    return 0;
  });
}

TEST_F(Vde, RefusesAPathThatClientsWouldCut) {
  auto dir = dir_.path() / std::string(90 - dir_.path().string().size(), 'x');
  try {
    on_loop(loop_, [&] {
      VdeListener(loop_.executor(), dir.string() + "yyy", [](auto) {});
      return 0;
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("has 94 bytes, clients take 92 at most"));
  }
  EXPECT_FALSE(std::filesystem::exists(dir.string() + "yyy"));
}

// vde_plug: frames on its stdin and stdout, each behind its length of 2 bytes, big-endian.
class RealPlug {
 public:
  RealPlug(async::Loop& loop, const std::string& dir) : loop_(loop) {
    auto [in_read, in_write] = base::make_pipe();
    auto [out_read, out_write] = base::make_pipe();
    in_ = std::move(in_write);
    out_ = std::move(out_read);
    async::ChildSpec spec{.argv = {"vde_plug", dir}, .cwd = {}, .env = {}, .fds = {}};
    spec.fds.emplace(0, std::move(in_read));
    spec.fds.emplace(1, std::move(out_write));
    child_ = on_loop(
        loop_, [&] { return std::make_unique<async::Child>(loop_.executor(), std::move(spec)); });
  }
  ~RealPlug() { kill(); }
  void kill() {
    on_loop(loop_, [&] {
      child_.reset();
      return 0;
    });
  }
  void send(std::string_view frame) const {
    std::string bytes{static_cast<char>(frame.size() >> 8), static_cast<char>(frame.size() & 0xff)};
    bytes += frame;
    base::check(static_cast<int>(::write(in_.get(), bytes.data(), bytes.size())), "write");
  }
  std::string receive() const {
    auto length = read(2);
    return read(static_cast<unsigned char>(length[0]) * 256u +
                static_cast<unsigned char>(length[1]));
  }

 private:
  std::string read(std::size_t count) const {
    std::string bytes;
    while (bytes.size() < count) {
      pollfd ready{.fd = out_.get(), .events = POLLIN, .revents = 0};
      char buffer[2000];
      if (::poll(&ready, 1, 30'000) <= 0) throw Error(Error::Kind::timeout, "nothing for 30 s");
      auto got = ::read(out_.get(), buffer, std::min(sizeof buffer, count - bytes.size()));
      if (got <= 0) throw Error(Error::Kind::protocol, "vde_plug has ended");
      bytes.append(buffer, static_cast<std::size_t>(got));
    }
    return bytes;
  }

  async::Loop& loop_;
  base::Fd in_, out_;
  std::unique_ptr<async::Child> child_;
};

TEST_F(Vde, ServesRealPlugs) {
  if (async::find_program("vde_plug").empty()) GTEST_SKIP() << "there is no vde_plug here";
  RealPlug one(loop_, dir()), two(loop_, dir());
  ASSERT_TRUE(eventually([&] { return hub_.joined() == 2; }));
  for (int i = 0; i < 50; ++i) {
    auto there = frame(0xff, 1, "number " + std::to_string(i) + std::string(1400, 'x'), i);
    one.send(there);
    ASSERT_EQ(two.receive(), there);
    two.send(frame(1, 2, "back"));
    ASSERT_EQ(one.receive(), frame(1, 2, "back"));
  }
  one.kill();
  EXPECT_TRUE(eventually([&] { return hub_.ended() == 1; }));
}

}  // namespace
}  // namespace attest::net
