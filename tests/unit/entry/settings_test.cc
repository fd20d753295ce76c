#include "lib/entry/settings.h"

#include "attest/error.h"

#include <gmock/gmock.h>

namespace attest::entry {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

const char* no_variables(const char*) { return nullptr; }

std::string complaint(std::vector<std::string> arguments) {
  try {
    read_settings(arguments, no_variables);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Settings, TakesItsFlagsAndLeavesTheOthers) {
  std::vector<std::string> arguments = {"test",
                                        "--attest_config=a.json",
                                        "--gtest_filter=*",
                                        "--attest_set=name=x",
                                        "--attest_set=name=y",
                                        "mine"};
  auto settings = read_settings(arguments, no_variables);
  EXPECT_EQ(settings.config, "a.json");
  EXPECT_THAT(settings.sets, ElementsAre("name=x", "name=y"));
  EXPECT_THAT(arguments, ElementsAre("test", "--gtest_filter=*", "mine"));
}

TEST(Settings, FlagsWinOverVariables) {
  std::vector<std::string> arguments = {"--attest_config=flag.json"};
  auto variable = [](const char* name) -> const char* {
    return std::string_view(name) == "ATTEST_CONFIG" ? "variable.json" : nullptr;
  };
  EXPECT_EQ(read_settings(arguments, variable).config, "flag.json");
}

TEST(Settings, ReadsVariables) {
  std::vector<std::string> none;
  auto variable = [](const char* name) -> const char* {
    std::string_view n(name);
    return n == "ATTEST_REQUIRE"          ? "kvm, tun"
           : n == "ATTEST_SANDBOX"        ? "off"
           : n == "ATTEST_TIMEOUT_FACTOR" ? "2.5"
                                          : nullptr;
  };
  auto settings = read_settings(none, variable);
  EXPECT_TRUE(settings.requires_capability("tun"));
  EXPECT_FALSE(settings.requires_capability("ocr"));
  EXPECT_EQ(settings.sandbox, SandboxMode::off);
  EXPECT_EQ(settings.timeout_factor, 2.5);
}

TEST(Settings, AllRequiresEverything) {
  Settings settings;
  settings.require = {"all"};
  EXPECT_TRUE(settings.requires_capability("ocr"));
}

TEST(Settings, NamesTheNearestFlag) {
  EXPECT_THAT(complaint({"--attest_confg=x"}), HasSubstr("did you mean '--attest_config'?"));
}
TEST(Settings, RefusesAMissingValue) {
  EXPECT_THAT(complaint({"--attest_config"}), HasSubstr("needs a value"));
}
TEST(Settings, RefusesAValueTooMany) {
  EXPECT_THAT(complaint({"--attest_allow_none=1"}), HasSubstr("takes no value"));
}
TEST(Settings, SaysWhatASandboxCanBe) {
  EXPECT_EQ(complaint({"--attest_sandbox=maybe"}),
            "--attest_sandbox: expected auto, require or off, got 'maybe'");
}
TEST(Settings, RefusesAFactorThatIsNone) {
  EXPECT_THAT(complaint({"--attest_timeout_factor=fast"}),
              HasSubstr("a number between 0.01 and 1000, got 'fast'"));
  EXPECT_THAT(complaint({"--attest_timeout_factor=nan"}), HasSubstr("got 'nan'"));
}

TEST(Overridden, PutsTheBackendOnEveryMachine) {
  Config config;
  config.machines["a"];
  config.machines["b"].backend = "loopback";
  Settings settings;
  settings.backend = "nspawn";
  auto result = overridden(config, settings);
  EXPECT_EQ(result.machines["a"].backend, "nspawn");
  EXPECT_EQ(result.machines["b"].backend, "nspawn");
}

}  // namespace
}  // namespace attest::entry
