// The rows of bench/net, by part.
#pragma once
#include "bench.h"

#include <vector>

/// net.setup_ms_4x16, net.teardown_ms_4x16, net.setup_vs_ip: the links of machines in the kernel.
/// In network namespaces of its own.
std::vector<bench::Metric> net_setup(int count);

/// net.switch_vs_vde and net.switch_latency_us, with what they come from. Takes about a second for
/// every 10 of `count`. Throws attest::Error, {host} without a vde_switch.
std::vector<bench::Metric> net_switch(int count);

/// net.loss_error_pct, net.delay_error_ms, net.partition_ms: seen from inside two containers.
std::vector<bench::Metric> net_faults(int count);
