// docs/config.md: all keys with their values, defaults and sentences, made from the table.
#pragma once
#include <string>

namespace attest::core::config {

/// The whole page, as Markdown.
std::string reference_page();

}  // namespace attest::core::config
