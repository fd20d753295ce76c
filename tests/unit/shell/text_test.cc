// Texts that are made for the guest, without a guest.
#include "attest/error.h"
#include "lib/guest/ports.h"
#include "lib/guest/shell_guest.h"
#include "lib/guest/units.h"

#include <gmock/gmock.h>

namespace attest::guest {
namespace {

using proto::ShellKind;

TEST(ShellText, IsStrictByDefault) {
  EXPECT_EQ(shell_text({.shell = "make", .argv = {}}, ShellKind::bash), "set -euo pipefail\nmake");
  EXPECT_EQ(shell_text({.shell = "make", .argv = {}}, ShellKind::posix), "set -eu\nmake");
  EXPECT_EQ(shell_text({.shell = "make", .argv = {}, .strict = false}, ShellKind::bash), "make");
}

TEST(ShellText, QuotesArgumentsAndEnvironment) {
  Command command{.shell = "", .argv = {"printf", "%s", "$HOME 'x'"}, .env = {{"A", "b c"}}};
  EXPECT_EQ(shell_text(command, ShellKind::bash),
            "export A='b c'\nexec 'printf' '%s' '$HOME '\\''x'\\'''");
}

TEST(ShellText, RefusesWhatIsNoCommand) {
  Command both{.shell = "x", .argv = {"y"}};
  Command name{.shell = "x", .argv = {}, .env = {{"a b", "c"}}};
  Command empty{.shell = "", .argv = {""}};
  for (auto& command : {both, name, empty})
    EXPECT_THROW(shell_text(command, ShellKind::bash), Error);
}

TEST(UnitProbe, RefusesNamesThatAreNone) {
  for (auto* name : {"", "-x", "a b.service", "a;reboot", "$(x)", "a'b", "a\nb"})
    EXPECT_THROW(unit_probe(name, ""), Error) << name;
  EXPECT_THROW(unit_probe("a.service", "alice; reboot"), Error);
  EXPECT_NO_THROW(unit_probe("dev-disk-by\\x2dlabel-x.device", "alice"));
}

TEST(PortProbe, RefusesWhatIsNoPortOrAddress) {
  for (int port : {-1, 0, 65536}) EXPECT_THROW(port_probe({port, "localhost"}), Error) << port;
  for (auto* address : {"", "-x", "a b", "$(x)", "a/b", "a;b"})
    EXPECT_THROW(port_probe({80, address}), Error) << address;
  EXPECT_THAT(port_probe({80, "localhost"}), ::testing::HasSubstr("127.0.0.1/80"));
}

}  // namespace
}  // namespace attest::guest
