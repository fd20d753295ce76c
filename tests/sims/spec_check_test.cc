// The monitors' own descriptions, where they are at hand: all that the suites send is checked by
// them.
#include "tests/sims/common/spec_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>

namespace attest::sims {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class SimSpecs : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::getenv("ATTEST_SIM_SPECS"))
      GTEST_SKIP() << "the stand-ins take requests unchecked: there is no ../shared/specs";
  }
  // One accepted, one refused with `why`.
  static void check(const std::string& file, const std::string& method, const std::string& path,
                    const json& good, const json& bad, const std::string& why) {
    auto spec = SpecCheck::from_environment(file);
    EXPECT_EQ(spec.problem(method, path, &good), "");
    EXPECT_THAT(spec.problem(method, path, &bad), HasSubstr(why));
    EXPECT_THAT(spec.problem(method, path + "s", &good), HasSubstr("not in the API description"));
  }
};

TEST_F(SimSpecs, OfFirecracker) {
  for (const char* file :
       {"firecracker-1.16.1.openapi.yaml", "firecracker-1.17.0-dev.openapi.yaml"})
    check(file, "PUT", "/vsock", {{"guest_cid", 3}, {"uds_path", "v"}},
          {{"guest_cid", 2}, {"uds_path", "v"}}, "guest_cid: 2 is less than 3");
}

TEST_F(SimSpecs, OfCloudHypervisor) {
  check("cloud-hypervisor-53.0.openapi.yaml", "PUT", "/vm.restore", {{"source_url", "file:///s"}},
        {{"source_url", "file:///s"}, {"resumes", true}}, "unknown member 'resumes'");
}

}  // namespace
}  // namespace attest::sims
