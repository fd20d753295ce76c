// Rows of bench/net about the switch in the process.
#pragma once
#include "bench.h"

/// Appends net.switch_vs_vde and net.switch_latency_us, with what they come from. Takes about a
/// second for every 10 of `count`. Throws attest::Error, {host} without a vde_switch.
void bench_switch(std::vector<bench::Metric>& metrics, int count);
