// The shell text that takes pictures in a guest, run by this host's sh with tools of ours.
#include "lib/guest/screenshot.h"

#include "attest/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "tests/fakes/error_of.h"
#include "tests/fakes/run_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace attest::guest {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using Method = ScreenshotMethod;

class ScreenshotText : public testing::Test {
 protected:
  void SetUp() override {
    // Nothing but what any guest has: this host may have the tools themselves.
    for (auto* name : {"sh", "mktemp", "rm", "cat", "tail", "grep", "head", "tr", "sed"})
      for (auto* dir : {"/bin/", "/usr/bin/"})
        if (fs::exists(dir + std::string(name)) && !fs::exists(tools() / name))
          fs::create_symlink(dir + std::string(name), tools() / name);
  }
  fs::path tools() {
    fs::create_directories(dir_.path() / "tools");
    return dir_.path() / "tools";
  }
  // A tool that writes how it was called into the picture, its last argument.
  void add(const std::string& name, const std::string& more = "") {
    base::write_file(tools() / name,
                     "#!/bin/sh\nfor last; do :; done\n"
                     "echo \"${0##*/} $1 $DISPLAY $WAYLAND_DISPLAY\" >\"${last#png:}\"\n" +
                         more + "\n");
    fs::permissions(tools() / name, fs::perms{0755});
  }
  fakes::ProgramRun run(const GuestScreenshotOptions& options) {
    return fakes::run_program(
        {"/bin/sh", "-c", screenshot_text(options)},
        {{"PATH", tools().string()}, {"DISPLAY", ""}, {"WAYLAND_DISPLAY", ""}});
  }
  base::TempDir dir_;
};

TEST_F(ScreenshotText, CallsTheToolOfTheMethod) {
  add("fbgrab");
  add("import");
  add("grim");
  auto socket = (dir_.path() / "wayland-7").string();
  auto listener = base::listen_unix(socket);
  auto shot = run({.method = Method::fbgrab, .display = "/dev/null"});
  EXPECT_EQ(shot.output, "fbgrab -d  \n");
  EXPECT_EQ(shot.exit_code, 0);
  shot = run({.method = Method::x11, .display = "far:3"});
  EXPECT_EQ(shot.output, "import -window far:3 \n");
  EXPECT_EQ(shot.exit_code, 0);
  shot = run({.method = Method::grim, .display = socket});
  EXPECT_THAT(shot.output, AllOf(HasSubstr("grim /tmp/attest-screen."), HasSubstr(socket + "\n")));
  EXPECT_EQ(shot.exit_code, 0);
}

TEST_F(ScreenshotText, NamesThePackageOfAMissingTool) {
  auto socket = (dir_.path() / "it's one").string();
  auto listener = base::listen_unix(socket);
  struct Row {
    GuestScreenshotOptions options;
    const char* text;
  } rows[] = {
      {{Method::fbgrab, "/dev/null", {}},
       "fbgrab: it has no 'fbgrab' (Debian's package 'fbcat')\n"},
      {{Method::x11, "far:3", {}}, "x11: it has no 'import' (Debian's package 'imagemagick')\n"},
      {{Method::grim, socket, {}}, "grim: it has no 'grim' (Debian's package 'grim')\n"}};
  for (auto& row : rows) {
    auto shot = run(row.options);
    EXPECT_EQ(shot.output, row.text);
    EXPECT_EQ(shot.exit_code, 3);
  }
}

TEST_F(ScreenshotText, SaysWhatThereIsNotToBeSeen) {
  for (auto* tool : {"fbgrab", "import", "grim"}) add(tool);
  EXPECT_EQ(run({.method = Method::fbgrab, .display = "/dev/fb99"}).output,
            "fbgrab: it has no framebuffer '/dev/fb99'\n");
  EXPECT_EQ(run({.method = Method::x11, .display = ":99.0"}).output,
            "x11: no X server has its display ':99.0'\n");
  auto shot = run({.method = Method::grim, .display = "wayland-99"});
  EXPECT_EQ(shot.output, "grim: no Wayland compositor has its display 'wayland-99'\n");
  EXPECT_EQ(shot.exit_code, 3);
}

TEST_F(ScreenshotText, TellsAToolThatFailsFromOneThatIsMissing) {
  add("import", "echo 'unable to open X server' >&2; exit 1");
  auto shot = run({.method = Method::x11, .display = "far:3"});
  EXPECT_EQ(shot.output, "x11: 'import' failed with exit code 1: unable to open X server\n");
  EXPECT_EQ(shot.exit_code, 4);
}

TEST_F(ScreenshotText, LeavesNothingBehind) {
  add("import", "echo ${last#png:} >" + (dir_.path() / "where").string());
  run({.method = Method::x11, .display = "far:3"});
  auto file = base::read_file(dir_.path() / "where");
  file.pop_back();
  EXPECT_THAT(file, HasSubstr("/tmp/attest-screen."));
  EXPECT_FALSE(fs::exists(fs::path(file).parent_path()));
}

TEST(ScreenshotOptions, WithADisplayNeedAMethod) {
  EXPECT_THAT(error_of(Error::Kind::usage, [] { screenshot_text({.display = ":1"}); }),
              HasSubstr("the display ':1' is given without a method"));
}

}  // namespace
}  // namespace attest::guest
