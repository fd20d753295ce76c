// Pictures that tools in a guest take: of a framebuffer console, of an X server without a card, of
// a Wayland compositor without one. Needs `guest/debian/build.sh --variant x11`.
#include "error_of.h"
#include "lib/base/file.h"
#include "run_program.h"

#include <attest/gtest.h>

#include <filesystem>
#include <sstream>

namespace attest {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using Method = ScreenshotMethod;

struct Picture {
  int width = 0, height = 0;
  bool has_colours = false;  ///< more than one
};

// Decodes a PNG file: checks each chunk's sum, undoes the filters and looks for a second colour.
constexpr const char* decoder = R"py(
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG signature"
at, chunks = 8, []
while at < len(data):
    size, = struct.unpack(">I", data[at:at + 4])
    kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + size]
    assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0], kind
    chunks.append((kind, body))
    at += 12 + size
assert chunks[0][0] == b"IHDR" and chunks[-1][0] == b"IEND"
width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
assert not interlaced
bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
unit, stride = max(1, bits // 8), (width * bits + 7) // 8
raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
assert len(raw) == height * (stride + 1), "wrong amount of pixels"
above, colours = bytes(stride), set()
for y in range(height):
    way, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
    for x in range(stride) if way else ():
        a = row[x - unit] if x >= unit else 0
        b, c = above[x], above[x - unit] if x >= unit else 0
        p = a + b - c
        guess = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        row[x] = (row[x] + (0, a, b, (a + b) // 2, guess)[way]) & 255
    above = bytes(row)
    colours.update(above[i:i + unit] for i in range(0, width * bits // 8 // unit * unit, unit))
    if len(colours) > 1: break
print(width, height, int(len(colours) > 1))
)py";

Picture decode(const fs::path& file) {
  auto run = fakes::run_program({"python3", "-c", decoder, file.string()});
  Picture picture;
  if (run.exit_code != 0) throw Error(Error::Kind::usage, "not to be decoded: " + run.output);
  std::istringstream(run.output) >> picture.width >> picture.height >> picture.has_colours;
  return picture;
}

class Screens : public Test {
 public:
  Config config() const override {
    Config config;
    auto& desk = config.machines["desk"];
    desk.image = "debian-x11";
    desk.graphics = true;
    desk.memory_mb = 1024;
    desk.vlans.clear();
    auto& plain = config.machines["plain"];
    plain.vlans.clear();
    plain.qemu.agent = false;  // a picture comes over a shell as well
    return config;
  }

 protected:
  Machine& desk() { return machine("desk"); }
  // A program may take a while from its window to what is in it.
  Picture coloured(const std::string& name, const GuestScreenshotOptions& options) {
    Picture picture;
    retry(
        [&] {
          picture = decode(desk().guest_screenshot(name, options));
          return picture.has_colours;
        },
        {.timeout = 1min, .what = "the picture to have more than one colour"});
    return picture;
  }
};

TEST_F(Screens, ShowTheTextConsoleByItsFramebuffer) {
  desk().wait_for_file("/dev/fb0");
  desk().succeed("printf '\\033[31mred \\033[32mgreen' >/dev/tty1");
  std::istringstream size(desk().succeed("tr , ' ' </sys/class/graphics/fb0/virtual_size"));
  int width = 0, height = 0;
  size >> width >> height;
  auto picture = coloured("console.png", {.method = Method::fbgrab});
  EXPECT_EQ(picture.width, width);
  EXPECT_EQ(picture.height, height);
  // Nothing else shows anything, so it is what the default takes; also by its name.
  EXPECT_TRUE(coloured("default.png", {}).has_colours);
  EXPECT_TRUE(coloured("fb0.png", {.method = Method::fbgrab, .display = "/dev/fb0"}).has_colours);
}

TEST_F(Screens, ShowAnXServerWithoutACard) {
  auto server = desk().spawn({.argv = {"Xvfb", ":7", "-screen", "0", "320x240x24"}});
  desk().wait_for_open_unix_socket("/tmp/.X11-unix/X7");
  auto window =
      desk().spawn({.argv = {"xterm", "-geometry", "20x5+10+10"}, .env = {{"DISPLAY", ":7"}}});
  auto picture = coloured("pictures/of/x.png", {.method = Method::x11, .display = ":7"});
  EXPECT_EQ(picture.width, 320);
  EXPECT_EQ(picture.height, 240);
  EXPECT_TRUE(fs::exists(artifact_dir() / "pictures/of/x.png"));
  EXPECT_EQ(coloured("found.png", {.method = Method::x11}).width, 320);
  EXPECT_EQ(coloured("any.png", {}).width, 320);
  EXPECT_EQ(desk().succeed("ls /tmp | grep -c attest-screen || true"), "0\n");
}

TEST_F(Screens, ShowACompositorWithoutACard) {
  // As an ordinary user, since cage refuses to be root.
  desk().succeed("mkdir -m 700 -p /run/user/65534; chown nobody /run/user/65534");
  Command cage{.argv = {"cage", "--", "foot", "sh", "-c", "printf '\\033[41mred'; exec sleep 1000"},
               .user = "nobody"};
  cage.env = {{"WLR_BACKENDS", "headless"},
              {"WLR_RENDERER", "pixman"},
              {"WLR_LIBINPUT_NO_DEVICES", "1"},
              {"LC_ALL", "C.UTF-8"},
              {"XDG_RUNTIME_DIR", "/run/user/65534"}};
  auto compositor = desk().spawn(cage);
  desk().wait_for_open_unix_socket("/run/user/65534/wayland-0");
  auto picture = coloured("wayland.png", {.method = Method::grim});
  EXPECT_EQ(picture.width, 1280);
  EXPECT_EQ(picture.height, 720);
  EXPECT_EQ(coloured("named.png", {.method = Method::grim, .display = "wayland-0"}).width, 1280);
}

TEST_F(Screens, ThatAreNotThereAreNamedWithWhatIsMissing) {
  auto& plain = machine("plain");
  EXPECT_THAT(error_of(Error::Kind::unsupported, [&] { plain.guest_screenshot("none.png"); }),
              AllOf(HasSubstr("grim: no Wayland compositor runs in it"),
                    HasSubstr("x11: no X server runs in it"),
                    HasSubstr("fbgrab: it has no framebuffer '/dev/fb0'"),
                    HasSubstr("build.sh --variant x11")));
  EXPECT_THAT(error_of(Error::Kind::unsupported,
                       [&] {
                         plain.guest_screenshot("none.png",
                                                {.method = Method::x11, .display = "127.0.0.1:3"});
                       }),
              HasSubstr("x11: it has no 'import' (Debian's package 'imagemagick')"));
  EXPECT_THAT(error_of(Error::Kind::guest,
                       [&] {
                         desk().guest_screenshot("none.png",
                                                 {.method = Method::x11, .display = "127.0.0.1:3"});
                       }),
              HasSubstr("x11: 'import' failed with exit code 1: "));
  EXPECT_THAT(error_of(Error::Kind::usage, [&] { plain.guest_screenshot("../out.png"); }),
              HasSubstr("'../out.png' is neither an absolute path of a file nor a relative one"));
  EXPECT_FALSE(fs::exists(artifact_dir() / "none.png"));
}

}  // namespace
}  // namespace attest
