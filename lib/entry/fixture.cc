#include "attest/gtest.h"

#include "lib/entry/relocate.h"
#include "lib/entry/running_test.h"
#include "lib/entry/settings.h"
#include "lib/entry/suites.h"

namespace attest::detail {

struct Fixture::Impl {
  entry::ErrorRelocator relocator{*::testing::UnitTest::GetInstance()->current_test_info()};
  entry::Suite* suite = nullptr;
};

Fixture::Fixture() : impl_(std::make_unique<Impl>()) { entry::use_gtest(); }
Fixture::~Fixture() = default;

std::string Fixture::set_up(const std::function<Config()>& config, const std::string& variant) {
  impl_->suite = &entry::running_suite(config, variant);
  if (impl_->suite->failure) throw *impl_->suite->failure;
  return impl_->suite->lacking;
}

Driver& Fixture::driver() {
  if (!impl_->suite || !impl_->suite->driver)
    throw Error(Error::Kind::usage, "the fixture has no driver yet")
        .hint("call attest::Test::SetUp() first in your own SetUp()");
  return *impl_->suite->driver;
}

Config standard_config() { return entry::configured(entry::settings()); }

Config on_backend(Config config, const std::string& backend) {
  if (!backend.empty())
    for (auto& [name, machine] : config.machines) machine.backend = backend;
  return config;
}

}  // namespace attest::detail
