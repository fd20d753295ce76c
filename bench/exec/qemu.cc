// succeed("true") against the nixpkgs driver's wire protocol, in the same running guest, call by
// call in turn: the image's backdoor on a console of its own. And run({"/bin/true"}) against what
// the guest itself needs to start and reap it, plus one crossing there and back.
#include "bare_shell.h"
#include "exec.h"
#include "guest_peer.h"

#include <string>
#include <vector>

std::vector<bench::Metric> exec_qemu(const std::string& work_dir, int count) {
  const std::string path = work_dir + "/bench-shell";
  bench::GuestPeer guest(work_dir, 512,
                         {"-chardev", "socket,id=bare,path=" + path + ",server=on,wait=off",
                          "-device", "virtconsole,chardev=bare"});
  auto& machine = guest.machine();
  guest.start();
  bench::BareShell bare(bench::connect_to(path));
  // The guest's own backdoor has started on that console when it appeared; its banner again, for
  // us.
  machine.succeed("systemctl restart backdoor.service");
  bare.await("Spawning backdoor root shell...\n");

  std::vector<double> shell, argv_true, floor, theirs;
  for (int i = -5; i < count; ++i) {
    double a = bench::time_ms([&] { machine.succeed("true"); });
    double b = bench::time_ms([&] { bare.nixpkgs_execute("true"); });
    double c = bench::time_ms([&] { machine.run({"/bin/true"}); });
    double d = bench::time_ms([&] { guest.ask('t'); });
    if (i < 0) continue;  // the first ones fill caches
    shell.push_back(a);
    theirs.push_back(b);
    argv_true.push_back(c);
    floor.push_back(d);
  }
  double mine = bench::median(shell), nixpkgs = bench::median(theirs);
  double run = bench::median(argv_true), least = bench::median(floor);
  return {
      {"exec.true_ms", mine, "ms", count, "succeed(\"true\")"},
      {"exec.nixpkgs_true_ms", nixpkgs, "ms", count, "their wire protocol, without their Python"},
      {"exec.vs_nixpkgs_protocol", nixpkgs / mine, "ratio", count, "goal >= 8"},
      {"exec.run_true_ms", run, "ms", count, "run({\"/bin/true\"})"},
      {"exec.guest_floor_ms", least, "ms", count, "vfork, exec, wait in the guest, one crossing"},
      {"exec.vs_guest_floor", run / least, "ratio", count, "goal <= 1.3"},
      {"exec.concurrent20_s", twenty_at_once_s(machine), "s", 1, "20 x sleep 1; goal < 4"}};
}
