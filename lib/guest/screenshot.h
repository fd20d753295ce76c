// Pictures of what a guest shows, taken by a tool in the guest.
#pragma once
#include "attest/screenshot.h"
#include "lib/guest/guest.h"

#include <string>

namespace attest::guest {

/// The shell text (for any sh) that takes the picture and prints it as PNG. It exits with 3 if
/// there is nothing to take it of or with, and with 4 if the tool failed; the last line of stderr
/// says why. Pure; throws Error{usage} for a display without a method.
std::string screenshot_text(const GuestScreenshotOptions& options);

/// The picture, a whole PNG file. Throws Error{unsupported} where a tool or what it would show is
/// missing, Error{guest} if the tool fails or gives no PNG, and as Guest::run() does.
Task<std::string> screenshot(Guest& guest, GuestScreenshotOptions options, Deadline deadline);

}  // namespace attest::guest
