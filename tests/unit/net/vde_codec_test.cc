#include "lib/net/switching/vde_codec.h"

#include "attest/error.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <gmock/gmock.h>

#include <cstdint>
#include <vector>

namespace attest::net {
namespace {

using testing::HasSubstr;

std::string word(std::uint32_t value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// A sockaddr_un as it lies in memory.
std::string address(std::string path, std::uint16_t family = AF_UNIX) {
  path.resize(108);
  return std::string(reinterpret_cast<const char*>(&family), sizeof family) + path;
}

const std::string magic = word(0xfeedface);

std::string request(std::uint32_t type, const std::string& client) {
  return magic + word(3) + word(type) + client;
}

TEST(VdeCodec, UnderstandsWhatClientsAsk) {
  std::string abstract("\0vde-1", 6), whole = abstract;
  whole.resize(108);
  struct Case {
    const char* what;
    std::string bytes;
    VdeRequest expected;
  };
  const std::vector<Case> cases{
      {"any port", request(0, address("/d/.1-0")) + "QEMU", {0, false, "/d/.1-0", "QEMU"}},
      {"no description", request(0, address("/d/.1-0")), {0, false, "/d/.1-0", ""}},
      {"a port by number", request(5 << 8, address("/d/.1-0")), {5, false, "/d/.1-0", ""}},
      {"the largest number", request(0xffffff00, address("/d")), {0xffffff, false, "/d", ""}},
      {"the management port", request(1, address("/d/.1-0")), {0, true, "/d/.1-0", ""}},
      {"a padded description",
       request(0, address("/d")) + std::string("x\0\0\0", 4),
       {0, false, "/d", "x"}},
      {"too long a description",
       request(0, address("/d")) + std::string(300, 'x'),
       {0, false, "/d", std::string(128, 'x')}},
      {"an abstract name", request(0, address(abstract)), {0, false, whole, ""}},
      {"the longest path",
       request(0, address("/" + std::string(106, 'x'))),
       {0, false, "/" + std::string(106, 'x'), ""}},
      {"version 1",
       magic + word(0) + std::string(6, 'm') + address("/d/.1-0") + "old",
       {0, false, "/d/.1-0", "old"}},
  };
  for (auto& [what, bytes, expected] : cases) {
    SCOPED_TRACE(what);
    auto got = decode_vde_request(bytes);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->port, expected.port);
    EXPECT_EQ(got->management, expected.management);
    EXPECT_EQ(got->address, expected.address);
    EXPECT_EQ(got->description, expected.description);
  }
}

TEST(VdeCodec, WaitsForTheWholeAddressWhateverThePieces) {
  auto whole = request(0, address("/d/.1-0"));
  for (std::size_t count = 0; count < whole.size(); ++count)
    EXPECT_FALSE(decode_vde_request(whole.substr(0, count))) << count;
  EXPECT_TRUE(decode_vde_request(whole));
}

TEST(VdeCodec, RefusesWhatIsNoRequestAsSoonAsItShows) {
  struct Case {
    std::string bytes, why;
  };
  const std::vector<Case> cases{
      {"G", "it starts with 'G', not with 0xfeedface"},
      {"GET / HTTP/1.1\r\n", "it starts with 'GET '"},
      {magic + word(2), "version 2"},
      {magic + word(4), "version 4"},
      {request(2, address("/d")), "type 0x00000002 is unknown"},
      {request(0, address("/d", AF_INET)), "family 2"},
      {request(0, address("here/.1-0")), "not absolute"},
      {request(0, address(std::string(108, '/'))), "does not end"},
  };
  for (auto& [bytes, why] : cases) {
    try {
      decode_vde_request(bytes);
      ADD_FAILURE() << "accepted, should say " << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::protocol);
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  }
}

TEST(VdeCodec, AnswersWithAWholeSocketAddress) {
  EXPECT_EQ(encode_vde_answer("/tmp/v/1"), address("/tmp/v/1"));
  EXPECT_EQ(encode_vde_answer(std::string(107, 'x')).size(), 110u);
  EXPECT_THROW(encode_vde_answer(std::string(108, 'x')), Error);
  EXPECT_THROW(encode_vde_answer(""), Error);
}

}  // namespace
}  // namespace attest::net
