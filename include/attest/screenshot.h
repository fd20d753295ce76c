// Pictures of what a machine shows, taken inside of it: Machine::guest_screenshot().
#pragma once
#include <chrono>
#include <optional>
#include <string>

namespace attest {

/// What takes the picture. Each needs a tool in the machine; the package is Debian's.
enum class ScreenshotMethod {
  automatic,  ///< the first of grim, x11 and fbgrab that works
  fbgrab,     ///< the framebuffer, so a text console too: `fbgrab` (package fbcat, with netpbm)
  x11,        ///< the root window of an X server, also of Xvfb: `import` (package imagemagick)
  grim        ///< the outputs of a Wayland compositor of the wlroots kind, also of a headless one:
              ///< `grim` (package grim)
};

/// guest_screenshot().
struct GuestScreenshotOptions {
  ScreenshotMethod method = ScreenshotMethod::automatic;
  /// fbgrab: the device, default /dev/fb0. x11: as in DISPLAY, default the first display that has a
  /// socket. grim: as in WAYLAND_DISPLAY, or the path of the socket, default the first one found.
  /// Not for `automatic`.
  std::string display;
  std::optional<std::chrono::milliseconds> timeout;  ///< default: the config's timeouts.command
};

}  // namespace attest
