// attest without gtest: config and errors.
#include <attest/config.h>
#include <attest/driver.h>
#include <attest/error.h>

#include <cstdio>

int main() {
  auto config = attest::Config::from_json(R"({"machines": {"one": {"backend": "loopback"}}})");
  config.validate();
  try {
    attest::make_driver(config)->machine("two");
  } catch (const attest::Error& error) {
    return error.kind() == attest::Error::Kind::usage ? 0 : 1;
  }
  std::puts("an unknown machine was found");
  return 1;
}
