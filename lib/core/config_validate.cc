// Config::validate(): the rules of the table for values made in C++, and those between keys.
#include "lib/base/text.h"
#include "lib/core/config_check.h"
#include "lib/core/config_table.h"
#include "lib/core/config_write.h"

namespace attest::core::config {
namespace {

// The rule of one value, whatever its type is.
struct CheckValue {
  template <class T>
  void operator()(const T& value, const Rule& rule, const std::string& path) const {
    if constexpr (Number<T>) {
      check_number(to_number(value), rule, path);
    } else if constexpr (Text<T>) {
      check_text(value, rule, path);
      if (!is_utf8(value)) throw mismatch(path, "UTF-8 text", got_text(value));
    } else if constexpr (Choice<T>) {
      if (static_cast<std::size_t>(value) >= Names<T>::all.size())
        throw mismatch(path, expected<T>(rule), got_number(static_cast<int>(value)));
    } else if constexpr (List<T>) {
      check_size(value.size(), rule, path);
      check_unique(value, rule, path);
    } else if constexpr (Map<T>) {
      check_size(value.size(), rule, path);
      for (auto& [key, ignored] : value) check_key(key, rule.keys, path);
    }
  }
};

void check_disk(const DiskConfig& disk, const std::string& path) {
  if (disk.path.empty() && disk.size_mb == 0)
    throw problem(path, "neither 'path' nor 'size_mb' is given");
  if (!disk.path.empty() && disk.size_mb != 0)
    throw problem(path, "'path' and 'size_mb' are both given; only a blank disk has a size");
}

void check_machine(const MachineConfig& machine, const std::string& path) {
  std::vector<std::string> given;
  if (!machine.image.empty()) given.push_back("'image'");
  if (!machine.kernel.empty()) given.push_back("'kernel'");
  if (!machine.start_script.empty()) given.push_back("'start_script'");
  if (given.size() > 1)
    throw problem(path, base::join(given, " and ") + " are given; only one of them can be");
  if (!machine.initrd.empty() && machine.kernel.empty())
    throw problem(path, "'initrd' is given without 'kernel'");
  for (std::size_t i = 0; i < machine.disks.size(); ++i)
    check_disk(machine.disks[i], item(path + ".disks", i));
}

}  // namespace
}  // namespace attest::core::config

namespace attest {

void Config::validate() const {
  using namespace core::config;
  if (machines.empty())
    throw Error(Error::Kind::usage, "no machines are configured")
        .hint(
            "override config() in the fixture, or name a JSON file by --attest_config=FILE, by "
            "ATTEST_CONFIG=FILE or in attest's CMake function");
  CheckValue each;
  walk(*this, {}, "", each);
  for (auto& [key, machine] : machines) check_machine(machine, child("machines", key));
}

}  // namespace attest
