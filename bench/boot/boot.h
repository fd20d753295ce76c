// The rows of bench/boot, by backend.
#pragma once
#include "bench.h"

#include <string>
#include <vector>

/// boot.qemu_vs_bare and both its sides.
std::vector<bench::Metric> boot_qemu(const std::string& work_dir, int count);
/// boot.sim_overhead_ms: attest's own part of a start on the stand-in for Firecracker that
/// $ATTEST_FIRECRACKER names; nothing without it.
std::vector<bench::Metric> boot_sim(const std::string& work_dir, int count);
/// boot.nspawn_vs_bare and both its sides.
std::vector<bench::Metric> boot_nspawn(int count);
