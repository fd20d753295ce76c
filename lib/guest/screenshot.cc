#include "lib/guest/screenshot.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <string_view>

namespace attest::guest {
namespace {

using Kind = Error::Kind;

constexpr int nothing_there = 3;
constexpr std::string_view png_head = "\x89PNG\r\n\x1a\n";
// The last chunk, which is empty, behind its length and before its checksum.
constexpr std::string_view png_end = "IEND\xae\x42\x60\x82";

// Expects method and display in $_m and $_d. Each way says in $_why what it lacks.
constexpr std::string_view body = R"sh(
_t=$(mktemp -d /tmp/attest-screen.XXXXXX)||exit 4
trap 'rm -rf "$_t"' EXIT
_has(){ command -v "$1" >/dev/null 2>&1||{ _why="it has no '$1' (Debian's package '$2')";return 1;};}
_take(){ "$@" 2>"$_t/said" </dev/null&&[ -s "$_t/png" ]&&return
_code=4 _why="'$1' failed with exit code $?: $(tail -n 1 "$_t/said" 2>/dev/null)";return 1;}
_fbgrab(){ _x=${_d:-/dev/fb0}
[ -c "$_x" ]||{ _why="it has no framebuffer '$_x'";return 1;}
_has fbgrab fbcat||return 1
_take fbgrab -d "$_x" "$_t/png";}
_x11(){ _x=$_d
if [ -z "$_x" ];then
for _s in /tmp/.X11-unix/X*;do [ ! -S "$_s" ]||{ _x=:${_s##*/X};break;};done
[ -n "$_x" ]||{ _why="no X server runs in it (no socket in /tmp/.X11-unix)";return 1;}
fi
case $_x in :*)_n=${_x#:};[ -S "/tmp/.X11-unix/X${_n%%.*}" ]||{ _why="no X server has its display '$_x'";return 1;};;esac
_has import imagemagick||return 1
# Where the server asks for a cookie, its own file has one.
_s=$(grep -lsz '^-auth$' /proc/[0-9]*/cmdline 2>/dev/null|head -n 1)
[ -z "$_s" ]||export XAUTHORITY="$(tr '\0' '\n' <"$_s"|sed -n '/^-auth$/{n;p;q;}')"
DISPLAY=$_x _take import -window root "png:$_t/png";}
_grim(){ _x=
for _s in ${_d:+"$_d"} /run/user/*/${_d:-wayland-*} /run/${_d:-wayland-*} /tmp/${_d:-wayland-*};do
case $_s in /*)[ ! -S "$_s" ]||{ _x=$_s;break;};;esac;done
if [ -z "$_x" ];then
_why="no Wayland compositor runs in it (no socket /run/user/*/wayland-*)"
[ -z "$_d" ]||_why="no Wayland compositor has its display '$_d'"
return 1;fi
_has grim grim||return 1
WAYLAND_DISPLAY=$_x XDG_RUNTIME_DIR=${_x%/*} _take grim "$_t/png";}
_code=3 _all=
for _w in $_m;do
if "_$_w";then cat "$_t/png";exit 0;fi
_all="$_all${_all:+; }$_w: $_why"
done
echo "$_all" >&2
exit $_code
)sh";

std::string_view tools(ScreenshotMethod method) {
  switch (method) {
    case ScreenshotMethod::automatic:
      return "grim x11 fbgrab";
    case ScreenshotMethod::fbgrab:
      return "fbgrab";
    case ScreenshotMethod::x11:
      return "x11";
    case ScreenshotMethod::grim:
      return "grim";
  }
  return "";
}

}  // namespace

std::string screenshot_text(const GuestScreenshotOptions& options) {
  if (options.method == ScreenshotMethod::automatic && !options.display.empty())
    throw Error(Kind::usage, "the display '" + options.display + "' is given without a method")
        .hint("say which one it belongs to: ScreenshotMethod::fbgrab, x11 or grim");
  return "_m=" + base::shell_quote(tools(options.method)) +
         " _d=" + base::shell_quote(options.display) + std::string(body);
}

Task<std::string> screenshot(Guest& guest, GuestScreenshotOptions options, Deadline deadline) {
  Command command;
  command.shell = screenshot_text(options);
  command.strict = false;
  command.label = "taking a picture of what it shows";
  auto result = co_await guest.run(command, deadline);
  if (result.exit_code != 0) {
    auto why = base::printable(base::trim(base::last_lines(result.error_output, 1)));
    if (why.empty()) why = "exit code " + std::to_string(result.exit_code);
    throw Error(result.exit_code == nothing_there ? Kind::unsupported : Kind::guest,
                "cannot take a picture of what the machine shows: " + why)
        .hint(
            "a machine with a screen of its own has 'graphics', or starts Xvfb or a compositor; "
            "the image 'debian-x11' has the tools (sh guest/debian/build.sh --variant x11)");
  }
  if (!result.output.starts_with(png_head) || !result.output.ends_with(png_end))
    throw Error(Kind::guest,
                "what the tool has made of the machine's screen is no whole PNG file, but " +
                    std::to_string(result.output.size()) + " bytes");
  co_return std::move(result.output);
}

}  // namespace attest::guest
