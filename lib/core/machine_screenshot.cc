// Machine: pictures of what it shows, taken by tools in the machine.
#include "attest/machine.h"
#include "lib/base/file.h"
#include "lib/core/machine_impl.h"
#include "lib/guest/screenshot.h"

#include <algorithm>

namespace attest {
namespace {

namespace fs = std::filesystem;

void check_picture(const fs::path& path) {
  if (!path.has_filename() ||
      (path.is_relative() && std::find(path.begin(), path.end(), "..") != path.end()))
    throw Error(Error::Kind::usage, "'" + path.string() +
                                        "' is neither an absolute path of a file nor a relative "
                                        "one without '..'");
}

}  // namespace

fs::path Machine::guest_screenshot(const fs::path& path, GuestScreenshotOptions options,
                                   Here here) {
  fs::path arrived;
  try {
    check_picture(path);
    guest::screenshot_text(options);  // a wrong call needs no machine
    arrived = impl_->fleet.setup.artifacts() / path;
  } catch (const Error& e) {
    throw impl_->of_this(e, here);
  }
  auto picture = impl_->in_guest(impl_->command_limit(options.timeout), Evidence::none, here,
                                 [options](guest::Guest& guest, Deadline deadline) {
                                   return guest::screenshot(guest, options, deadline);
                                 });
  try {
    std::error_code failure;
    fs::create_directories(arrived.parent_path(), failure);
    if (failure)
      throw Error(Error::Kind::host, "cannot make the directory '" +
                                         arrived.parent_path().string() +
                                         "': " + failure.message());
    base::write_file(arrived, picture);
  } catch (const Error& e) {
    throw impl_->of_this(e, here);
  }
  return arrived;
}

}  // namespace attest
