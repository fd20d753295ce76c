// exec.vs_nixpkgs_protocol: succeed("true") against the nixpkgs driver's wire protocol, in the
// same running guest, call by call in turn. The second shell is a bash of the guest on hvc1,
// started as the backdoor starts its own.
#include "bare_shell.h"
#include "bench.h"

#include <attest/driver.h>
#include <attest/sandbox.h>

#include <filesystem>
#include <string>

int main(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  std::string path = sandbox.work_dir + "/bench-shell";
  attest::Config config;
  auto& guest = config.machines["guest"];
  guest.extra_args = {"-chardev", "socket,id=bare,path=" + path + ",server=on,wait=off", "-device",
                      "virtconsole,chardev=bare"};
  guest.ready = attest::Ready::multi_user;
  auto driver = attest::make_driver(config);
  auto& machine = driver->machine("guest");
  machine.start();
  bench::BareShell bare(bench::connect_to(path));
  // Descriptor 3 keeps the line open until bash has it: the last close would undo stty's work.
  machine.succeed(R"(
    systemd-run --quiet --unit=bare bash -c 'exec 3<>/dev/hvc1; stty raw -echo <&3
      cd /tmp; PS1= exec bash --norc /dev/hvc1 </dev/hvc1 >/dev/hvc1 3>&-'
  )");
  bare.send("echo ready\n");
  bare.await("ready\n");

  int count = bench::samples(argc, argv, 60);
  std::vector<double> ours, theirs;
  for (int i = 0; i < 5; ++i) {
    machine.succeed("true");
    bare.nixpkgs_execute("true");
  }
  for (int i = 0; i < count; ++i) {
    ours.push_back(bench::time_ms([&] { machine.succeed("true"); }));
    theirs.push_back(bench::time_ms([&] { bare.nixpkgs_execute("true"); }));
  }
  double mine = bench::median(ours), nixpkgs = bench::median(theirs);
  return bench::print(
      {{"exec.true_ms", mine, "ms", count, "succeed(\"true\")"},
       {"exec.nixpkgs_true_ms", nixpkgs, "ms", count, "their wire protocol, without their Python"},
       {"exec.vs_nixpkgs_protocol", nixpkgs / mine, "ratio", count, "goal >= 8"}},
      argc, argv);
}
