#include "lib/core/config_check.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>

namespace attest::core::config {
namespace {

// What a schema validator lets pass and what the reader takes must be the same.
TEST(Pattern, AgreesWithTheReader) {
  const Form forms[] = {Form::guest_path, Form::file_mode, Form::machine_name, Form::env_name,
                        Form::credential_name};
  std::vector<std::string> texts{"localhost",
                                 "localhosts",
                                 "0x",
                                 "0x1",
                                 "0xg",
                                 "12",
                                 "12a",
                                 "-a",
                                 "a-",
                                 "0644",
                                 "644",
                                 "04755",
                                 "14755",
                                 "64",
                                 "/",
                                 "/a",
                                 "/..",
                                 "/a/..b/..",
                                 "/...",
                                 "a/b",
                                 "..",
                                 ".",
                                 "...",
                                 "/a\n/..",
                                 "A_1",
                                 std::string(63, 'a'),
                                 std::string(64, 'a'),
                                 std::string(255, 'a'),
                                 std::string(256, 'a')};
  std::mt19937 random(1);
  const std::string alphabet = "a0x7A_-./@ ";
  for (int i = 0; i < 3000; ++i) {
    std::string text(1 + random() % 7, ' ');
    for (auto& c : text) c = alphabet[random() % alphabet.size()];
    texts.push_back(text);
  }
  for (auto form : forms) {
    std::regex regex{std::string(pattern(form))};
    for (auto& text : texts)
      EXPECT_EQ(accepts(form, text), std::regex_search(text, regex)) << "'" << text << "'";
  }
}

TEST(Path, QuotesKeysThatWouldBeMisread) {
  EXPECT_EQ(child("machines", "web"), "machines.web");
  EXPECT_EQ(child("", "name"), "name");
  EXPECT_EQ(child("machines", "a b"), "machines.\"a b\"");
  EXPECT_EQ(child("machines", "\033[31m"), "machines.\"\"");
  EXPECT_EQ(item("machines.web.vlans", 2), "machines.web.vlans[2]");
}

}  // namespace
}  // namespace attest::core::config
