// gtest's part of the artifacts.
#pragma once

namespace attest::entry {

/// Lets artifacts be filed under gtest's running test. May be called again.
void use_gtest();

}  // namespace attest::entry
