// Faults of kernel VLANs on a kernel that has all they need, which many a CI machine's has not: the
// unit test of lib/net/kernel/shaping runs in the default guest, with the libraries that it has
// here.
#include "lib/base/file.h"
#include "run_program.h"

#include <attest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace attest {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Shaping : public Test {
 public:
  Config config() const override {
    Config config;
    config.machines["kernel"].vlans.clear();
    return config;
  }
};

// The program, its libraries and the loader that they came with, in one directory.
void gather(const std::string& program, const fs::path& into) {
  auto listed = fakes::run_program({"ldd", program});
  ASSERT_EQ(listed.exit_code, 0) << listed.output;
  std::istringstream words(listed.output);
  for (std::string word; words >> word;)
    if (word.front() == '/') {
      bool loader = fs::path(word).filename().string().starts_with("ld-linux");
      fs::copy_file(word, into / (loader ? "loader" : fs::path(word).filename().string()));
    }
  fs::copy_file(program, into / "program");
}

TEST_F(Shaping, OfTheKernelDoesAllThatRulesSay) {
  base::TempDir dir("attest-shaping-");
  gather(std::getenv("ATTEST_UNIT_SHAPING"), dir.path());
  if (HasFatalFailure()) return;
  auto& kernel = machine("kernel");
  kernel.copy_from_host(dir.path(), "/run/shaping");
  auto run =
      kernel.execute("cd /run/shaping; ./loader --library-path . ./program --gtest_color=no 2>&1",
                     {.timeout = std::chrono::minutes(8)});
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("[  PASSED  ]"));
  EXPECT_THAT(run.output, Not(HasSubstr("SKIPPED")));
  std::istringstream lines(run.output);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("measured: ")) std::printf("%s\n", line.c_str());
}

}  // namespace
}  // namespace attest
