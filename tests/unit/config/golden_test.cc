// docs/config.schema.json and docs/config.md are made from the table. With ATTEST_UPDATE_GOLDEN=1
// these tests write them, and report themselves as skipped.
#include "attest/config.h"
#include "lib/base/file.h"
#include "lib/core/config_reference.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace attest {
namespace {

void compare_or_update(const std::string& name, const std::string& text) {
  auto path = std::string(ATTEST_SOURCE_ROOT "/docs/") + name;
  if (std::getenv("ATTEST_UPDATE_GOLDEN")) {
    base::write_file(path, text);
    GTEST_SKIP() << "wrote " << path;
  }
  EXPECT_EQ(base::try_read_file(path).value_or("(no such file)"), text)
      << "run again with ATTEST_UPDATE_GOLDEN=1 to write " << path;
}

TEST(Golden, ConfigSchema) { compare_or_update("config.schema.json", config_schema()); }
TEST(Golden, ConfigReference) { compare_or_update("config.md", core::config::reference_page()); }

}  // namespace
}  // namespace attest
