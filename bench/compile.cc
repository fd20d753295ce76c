// compile.vs_gtest: what a test author pays for including attest, over gtest with gmock.
#include "bench.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace {

std::string source(bool with_attest) {
  return std::string(with_attest ? "#include <attest/gtest.h>\n"
                                 : "#include <gmock/gmock.h>\n#include <gtest/gtest.h>\n") +
         "TEST(One, Test) { EXPECT_THAT(1 + 1, testing::Eq(2)); }\n";
}

double compile_ms(const std::filesystem::path& file) {
  std::string command = std::string(ATTEST_CXX) + " -std=c++20 -O0 -c -I" + ATTEST_INCLUDE +
                        " -o /dev/null " + file.string();
  int status = 0;
  double ms = bench::time_ms([&] { status = std::system(command.c_str()); });
  if (status != 0) {
    std::fprintf(stderr, "failed: %s\n", command.c_str());
    std::exit(1);
  }
  return ms;
}

}  // namespace

int main(int argc, char** argv) {
  ::setenv("CCACHE_DISABLE", "1", 1);
  std::string name = (std::filesystem::temp_directory_path() / "attest-bench-XXXXXX").string();
  std::filesystem::path dir = ::mkdtemp(name.data());
  std::ofstream(dir / "plain.cc") << source(false);
  std::ofstream(dir / "attest.cc") << source(true);
  int count = bench::samples(argc, argv, 7);
  compile_ms(dir / "attest.cc");  // warms the page cache
  std::vector<double> plain, with_attest, ratios;
  for (int i = 0; i < count; ++i) {  // interleaved, so that a noisy minute hits both sides
    plain.push_back(compile_ms(dir / "plain.cc"));
    with_attest.push_back(compile_ms(dir / "attest.cc"));
  }
  std::filesystem::remove_all(dir);
  double ours = bench::median(with_attest), theirs = bench::median(plain);
  return bench::print(
      {{"compile.attest_ms", ours, "ms", count, ""},
       {"compile.gtest_ms", theirs, "ms", count, ""},
       {"compile.vs_gtest", ours / theirs, "ratio", count, "gtest.h + gmock.h; goal <= 1.2"}},
      argc, argv);
}
