// The descriptions of the microVM monitors' options, a part of config_table.h.
#pragma once
#include "attest/config_microvm.h"
#include "lib/core/config_fields.h"

#include <array>
#include <string_view>

namespace attest::core::config {

using namespace std::string_view_literals;

inline constexpr std::array io_engines{""sv, "Sync"sv, "Async"sv};
inline constexpr std::array cache_types{""sv, "Unsafe"sv, "Writeback"sv};
inline constexpr std::array huge_page_kinds{""sv, "None"sv, "2M"sv, "Transparent"sv};
inline constexpr std::array log_levels{"Error"sv, "Warning"sv, "Info"sv, "Debug"sv};
inline constexpr std::array serials{"socket"sv, "file"sv};
inline constexpr std::array tap_ways{"fd"sv, "name"sv};
inline constexpr std::array restore_modes{"auto"sv, "copy"sv, "on_demand"sv, "map"sv};

template <>
struct Fields<RateLimit> {
  static constexpr auto all = std::tuple{
      field("bandwidth_kb_s", &RateLimit::bandwidth_kb_s,
            "KiB in each second; 0: as many as it can.", {.max = 1 << 30}),
      field("ops_s", &RateLimit::ops_s,
            "Operations (packets, for a network card) in each second; 0: as many as it can.",
            {.max = 1 << 30}),
  };
};

template <>
struct Fields<PmemConfig> {
  static constexpr auto shorthand = "path"sv;
  static constexpr auto all = std::tuple{
      field("path", &PmemConfig::path,
            "An existing file of the host, whose size is a multiple of 2 MiB.",
            {.form = Form::path, .filled = true, .required = true}),
      field("read_only", &PmemConfig::read_only,
            "Refuse writes; otherwise they go to the file itself."),
  };
};

template <>
struct Fields<BalloonConfig> {
  static constexpr auto all = std::tuple{
      field("enabled", &BalloonConfig::enabled, "Give the machine a balloon device."),
      field("amount_mb", &BalloonConfig::amount_mb, "How much memory it takes at the boot.",
            {.what = "a whole number of MiB", .max = 1'048'576}),
      field("deflate_on_oom", &BalloonConfig::deflate_on_oom,
            "Give memory back before the guest kills processes for want of it."),
  };
};

template <>
struct Fields<FirecrackerConfig> {
  using C = FirecrackerConfig;
  static constexpr auto all = std::tuple{
      field("binary", &C::binary,
            "The program: a name on PATH, or a path; with the default, $ATTEST_FIRECRACKER where "
            "that is set.",
            {.form = Form::path_or_name, .filled = true}),
      field("agent", &C::agent,
            "Let attest-agent answer; false: only the backdoor shell, on vsock port 1234."),
      field("io_engine", &C::io_engine,
            "How the host reads and writes its disks; Async is io_uring; empty: as the monitor "
            "does by itself.",
            {.choices = io_engines}),
      field("cache_type", &C::cache_type,
            "Whether the guest's flushes reach the host's disks (Writeback); empty: as the monitor "
            "does by itself.",
            {.choices = cache_types}),
      field("huge_pages", &C::huge_pages,
            "Pages of 2 MiB for its memory, from the host's pool (2M), or where they can be had "
            "(Transparent, from 1.17 on).",
            {.choices = huge_page_kinds}),
      field("enable_pci", &C::enable_pci, "Devices on PCI instead of MMIO; from 1.13 on."),
      field("smt", &C::smt, "Let pairs of processors be threads of one core."),
      field("track_dirty_pages", &C::track_dirty_pages, "Note which pages are written."),
      field("cpu_template", &C::cpu_template,
            "A CPU template, as Firecracker names them: T2, T2S, ...; empty: none."),
      field("entropy", &C::entropy, "Give it a source of entropy (virtio-rng)."),
      field("log_level", &C::log_level, "What its log says, which failures quote.",
            {.choices = log_levels}),
      field("drive_rate", &C::drive_rate, "Limits of each of its disks."),
      field("network_rate", &C::network_rate,
            "Limits of each of its network cards, in each direction."),
      field("balloon", &C::balloon, "A device that takes memory back."),
      field("pmem_devices", &C::pmem_devices,
            "Files that it sees as /dev/pmem0, /dev/pmem1, ...; from 1.14 on.", {.most = 8}),
      field("snapshot_path", &C::snapshot_path,
            "The directory of a snapshot: start() restores that instead of booting.",
            {.form = Form::path}),
  };
};

template <>
struct Fields<CloudHypervisorConfig> {
  using C = CloudHypervisorConfig;
  static constexpr auto all = std::tuple{
      field("binary", &C::binary,
            "The program: a name on PATH, or a path; with the default, $ATTEST_CLOUD_HYPERVISOR "
            "where that is set.",
            {.form = Form::path_or_name, .filled = true}),
      field("agent", &C::agent,
            "Let attest-agent answer; false: only the backdoor shell, on vsock port 1234."),
      field("serial", &C::serial, "What carries its console to attest.", {.choices = serials}),
      field("tap", &C::tap,
            "How it gets its network cards' TAPs: as open descriptors, or by their names.",
            {.choices = tap_ways}),
      field("huge_pages", &C::huge_pages, "Memory from the host's pool of huge pages."),
      field("huge_page_size_kb", &C::huge_page_size_kb,
            "The size of those pages; 0: the host's default.",
            {.what = "a whole number of KiB", .max = 1'048'576}),
      field("thp", &C::thp, "Let the host use transparent huge pages."),
      field("landlock", &C::landlock,
            "Let the monitor open only the files that belong to the machine."),
      field("max_vcpus", &C::max_vcpus,
            "The most processors that resize() can give it; 0: as many as vcpus.", {.max = 255}),
      field("max_memory_mb", &C::max_memory_mb,
            "The most memory that resize() can give it; 0: as much as memory_mb.",
            {.what = "a whole number of MiB", .max = 1'048'576}),
      field("drive_rate", &C::drive_rate, "Limits of each of its disks."),
      field("network_rate", &C::network_rate, "Limits of each of its network cards."),
      field("balloon", &C::balloon, "A device that takes memory back."),
      field("pmem_devices", &C::pmem_devices, "Files that it sees as /dev/pmem0, /dev/pmem1, ...",
            {.most = 8}),
      field("restore", &C::restore,
            "How a snapshot's memory comes back: all of it is read first (copy), page by page "
            "(on_demand, from 52 on), mapped (map; the machine must have been booted with it), or "
            "(auto) on_demand where the host allows it, else copy.",
            {.choices = restore_modes}),
      field("snapshot_path", &C::snapshot_path,
            "The directory of a snapshot: start() restores that instead of booting.",
            {.form = Form::path}),
  };
};

}  // namespace attest::core::config
