// How long a machine takes to be there, against the bare program that boots it: --only=qemu,
// nspawn or sim for the rows of one backend.
#include "boot.h"

#include <attest/sandbox.h>

int main(int argc, char** argv) {
  auto sandbox = attest::enter_sandbox();
  std::vector<bench::Metric> all;
  auto add = [&](const std::vector<bench::Metric>& rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  };
  if (bench::wanted("nspawn", argc, argv)) add(boot_nspawn(bench::samples(argc, argv, 15)));
  if (bench::wanted("sim", argc, argv))
    add(boot_sim(sandbox.work_dir, bench::samples(argc, argv, 5)));
  if (bench::wanted("qemu", argc, argv))
    add(boot_qemu(sandbox.work_dir, bench::samples(argc, argv, 5)));
  return bench::print(all, argc, argv);
}
