#include "lib/entry/artifacts.h"

#include "attest/artifacts.h"
#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/entry/settings.h"
#include "lib/entry/standard.h"

#include <algorithm>

namespace attest {
namespace entry {
namespace {

RunningTest& running_test() {
  static RunningTest how;
  return how;
}

}  // namespace

bool running_test_failed() { return running_test().failed(); }

void use_running_test(RunningTest how) { running_test() = std::move(how); }

}  // namespace entry

namespace {

namespace fs = std::filesystem;

Error host_error(const std::string& what, const std::error_code& code) {
  return Error(Error::Kind::host, what + ": " + code.message());
}

fs::path recorded(const fs::path& made) {
  entry::running_test().record("attachment " + made.filename().string(), made.string());
  return made;
}

}  // namespace

void log(std::string_view text) { entry::say("", text); }

fs::path artifact_dir() {
  auto name = entry::running_test().name();
  if (name.empty()) name = "none";
  std::replace(name.begin(), name.end(), '/', '-');  // of parameters: Suite.Test/qemu
  auto dir = fs::absolute(entry::settings().artifacts) / name;
  std::error_code failed;
  fs::create_directories(dir, failed);
  if (failed) throw host_error("making the directory for artifacts '" + dir.string() + "'", failed);
  return dir;
}

fs::path attach(const fs::path& file) {
  auto made = artifact_dir() / file.filename();
  std::error_code failed;
  fs::copy_file(file, made, fs::copy_options::overwrite_existing, failed);
  if (failed)
    throw host_error("copying '" + file.string() + "' to '" + made.string() + "'", failed);
  return recorded(made);
}

fs::path attach(std::string_view name, std::string_view bytes) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos)
    throw Error(Error::Kind::usage, "'" + std::string(name) + "' cannot be an attachment's name");
  auto made = artifact_dir() / name;
  base::write_file(made, bytes);
  return recorded(made);
}

}  // namespace attest
