#include "lib/core/config_write.h"

#include "lib/core/config_check.h"
#include "lib/core/config_table.h"

namespace attest::core::config {

bool is_utf8(const std::string& text) {
  try {
    OrderedJson(text).dump();
    return true;
  } catch (const OrderedJson::type_error&) {
    return false;
  }
}

}  // namespace attest::core::config

namespace attest {

std::string Config::to_json() const {
  try {
    return core::config::write(*this).dump(2) + "\n";
  } catch (const core::config::OrderedJson::type_error&) {
    throw core::config::problem("", "cannot be written as JSON, it holds text that is not UTF-8")
        .hint("validate() names the key");
  }
}

}  // namespace attest
