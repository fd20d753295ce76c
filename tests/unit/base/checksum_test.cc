#include "lib/base/checksum.h"

#include "attest/error.h"
#include "lib/base/file.h"

#include <gtest/gtest.h>

#include <fstream>

namespace attest::base {
namespace {

class Checksum : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& text) {
    write_file(dir.path() / name, text);
    return dir.path() / name;
  }
  TempDir dir;
};

TEST_F(Checksum, OfTheSameBytesIsTheSame) {
  auto a = identify(write("a", "some bytes")), b = identify(write("b", "some bytes"));
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.size, 10u);
  EXPECT_EQ(a.checksum.size(), 32u);
  EXPECT_NE(a, identify(write("c", "some bytez")));
}

TEST_F(Checksum, SeesASingleBitAnywhere) {
  std::string text(700'001, 'x');
  auto whole = identify(write("whole", text));
  for (std::size_t at : {0u, 131'071u, 131'072u, 400'000u, 700'000u}) {
    auto flipped = text;
    flipped[at] ^= 1;
    EXPECT_NE(identify(write("flipped" + std::to_string(at), flipped)), whole) << at;
  }
}

TEST_F(Checksum, OfHolesIsThatOfZeros) {
  std::string text(1 << 20, '\0');
  text.replace(300'000, 5, "words");
  auto dense = write("dense", text);
  auto sparse = dir.path() / "sparse";
  std::ofstream(sparse).close();
  std::filesystem::resize_file(sparse, text.size());
  std::fstream(sparse, std::ios::in | std::ios::out).seekp(300'000) << "words";
  EXPECT_EQ(identify(dense), identify(sparse));
}

TEST_F(Checksum, KnowsWhereContentStands) {
  std::string early(1 << 20, '\0'), late = early;
  early[0] = late[200'000] = 'x';
  EXPECT_NE(identify(write("early", early)), identify(write("late", late)));
  EXPECT_NE(identify(write("short", std::string(10, '\0'))),
            identify(write("long", std::string(11, '\0'))));
}

TEST_F(Checksum, OfAFileThatHasChangedIsAnother) {
  auto file = write("file", "one");
  auto before = identify(file);
  std::ofstream(file) << "two";  // the same inode, size, and perhaps time
  EXPECT_NE(identify(file), before);
}

TEST_F(Checksum, OfNoFileIsAnErrorThatNamesIt) {
  for (auto path : {dir.path() / "none", dir.path()}) try {
      identify(path);
      ADD_FAILURE() << path;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(path.string()), std::string::npos) << e.what();
    }
}

}  // namespace
}  // namespace attest::base
