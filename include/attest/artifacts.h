// What a test leaves behind for people: lines in the log, and files.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace attest {

/// Prints a line to the log (stderr), among those of the machines.
void log(std::string_view text);

/// The directory for what the running test leaves: DIR/<Suite.Test>, made at its first use. DIR is
/// --attest_artifacts, ATTEST_ARTIFACTS, TEST_UNDECLARED_OUTPUTS_DIR, or ./attest-results. Outside
/// of a test: DIR/none. Throws Error{host} if it cannot be made. Any thread.
std::filesystem::path artifact_dir();

/// Copies a file into artifact_dir() and names it in gtest's report as the property
/// "attachment NAME". Returns where it is now.
std::filesystem::path attach(const std::filesystem::path& file);
/// The same for bytes under a name of the test's choice, without '/'.
///     attest::attach("routes.txt", router.succeed("ip route"));
std::filesystem::path attach(std::string_view name, std::string_view bytes);

}  // namespace attest
