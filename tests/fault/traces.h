// What a run could leave changed on the host that it ran on.
#pragma once
#include <set>
#include <string>

namespace attest_test {

/// The whole file; "" if it cannot be read.
std::string slurp(const std::string& path);
/// Interfaces, named network namespaces, cgroups of `machine` (other tests have cgroups, too),
/// mounts, the files in `temp`, and unix sockets there and in work directories: one line each.
std::set<std::string> traces(const std::string& temp, const std::string& machine);
/// What is in `after` and not in `before`.
std::set<std::string> without(const std::set<std::string>& after,
                              const std::set<std::string>& before);

}  // namespace attest_test
