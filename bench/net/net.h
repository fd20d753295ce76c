// The rows of bench/net, by part.
#pragma once
#include "bench.h"

#include <vector>

/// net.setup_ms_4x16, net.teardown_ms_4x16, net.setup_vs_ip: the links of machines in the kernel.
/// In network namespaces of its own.
std::vector<bench::Metric> net_setup(int count);
