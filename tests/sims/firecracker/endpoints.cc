// The members of each endpoint's body, and the release that brought them.
#include "tests/sims/firecracker/shape.h"

#include <map>

namespace attest::sims::firecracker {
namespace {

using Inner = std::shared_ptr<const Shape>;

constexpr Version v1_12{1, 12, 0}, v1_13{1, 13, 0}, v1_14{1, 14, 0}, v1_16{1, 16, 0},
    v1_17{1, 17, 0};

Inner object(std::vector<Member> members, bool open = false) {
  return std::make_shared<const Shape>(Shape{std::move(members), open});
}
Member must(std::string name, std::string type) { return {std::move(name), std::move(type), true}; }
Member may(std::string name, std::string type, Version since = {}) {
  return {std::move(name), std::move(type), false, since};
}
Member nested(std::string name, Inner inner, Version since = {}, std::string type = "object") {
  return {std::move(name), std::move(type), false, since, std::move(inner)};
}
Member one(std::string name, std::vector<std::string> variants, bool required = false,
           Version since = {}) {
  return {std::move(name), "one", required, since, {}, std::move(variants)};
}

Inner bucket() {
  return object({must("size", "u64"), may("one_time_burst", "u64"), must("refill_time", "u64")});
}
Inner limiter() { return object({nested("bandwidth", bucket()), nested("ops", bucket())}); }

std::vector<std::string> page_sizes(const Version& version) {
  std::vector<std::string> sizes = {"None"};
  if (version >= v1_17) sizes.push_back("Transparent");
  sizes.push_back("2M");
  return sizes;
}

std::vector<Member> machine(const Version& version, bool patch) {
  return {{"vcpu_count", "u8", !patch},
          {"mem_size_mib", "u64", !patch},
          may("smt", "bool"),
          one("cpu_template", {"C3", "T2", "T2S", "None", "T2CL", "T2A", "V1N1"}),
          may("track_dirty_pages", "bool"),
          one("huge_pages", page_sizes(version))};
}

std::vector<Member> load(const Version& version) {
  Inner memory =
      object({must("backend_path", "string"), one("backend_type", {"File", "Uffd"}, true)});
  Inner network = object({must("iface_id", "string"), must("host_dev_name", "string")}, true);
  std::vector<std::string> pages = page_sizes(version);
  pages.insert(pages.begin(), "Snapshot");
  return {must("snapshot_path", "string"),
          may("mem_file_path", "string"),
          nested("mem_backend", memory),
          may("enable_diff_snapshots", "bool"),
          may("track_dirty_pages", "bool", v1_13),
          may("resume_vm", "bool"),
          nested("network_overrides", network, v1_12, "list"),
          nested("vsock_override", object({must("uds_path", "string")}, true), v1_16),
          may("clock_realtime", "bool", v1_16),
          one("huge_pages", pages, false, v1_17)};
}

using Shapes = std::map<std::string, Shape, std::less<>>;

Shapes devices(const Version& version) {
  Shapes shapes = {
      {"drives",
       {{must("drive_id", "string"), may("partuuid", "string"), must("is_root_device", "bool"),
         one("cache_type", {"Unsafe", "Writeback"}), may("is_read_only", "bool"),
         may("path_on_host", "string"), nested("rate_limiter", limiter()),
         one("io_engine", {"Async", "Sync"}), may("socket", "string")}}},
      {"patch drives",
       {{must("drive_id", "string"), may("path_on_host", "string"),
         nested("rate_limiter", limiter())}}},
      {"network-interfaces",
       {{must("iface_id", "string"), must("host_dev_name", "string"), may("guest_mac", "string"),
         may("mtu", "u16", v1_16), nested("rx_rate_limiter", limiter()),
         nested("tx_rate_limiter", limiter())}}},
      {"patch network-interfaces",
       {{must("iface_id", "string"), nested("rx_rate_limiter", limiter()),
         nested("tx_rate_limiter", limiter())}}},
      {"vsock",
       {{may("vsock_id", "string"), must("guest_cid", "u32"), must("uds_path", "string")}}},
      {"entropy", {{nested("rate_limiter", limiter())}}},
      {"balloon",
       {{must("amount_mib", "u32"), must("deflate_on_oom", "bool"),
         may("stats_polling_interval_s", "u16"), may("free_page_hinting", "bool", v1_14),
         may("free_page_reporting", "bool", v1_14)}}},
      {"patch balloon", {{must("amount_mib", "u32")}}},
      {"patch balloon/statistics", {{must("stats_polling_interval_s", "u16")}}}};
  if (version < v1_14) return shapes;
  shapes["serial"] = {{may("serial_out_path", "string"), nested("rate_limiter", bucket(), v1_16)}};
  shapes["pmem"] = {{must("id", "string"), must("path_on_host", "string"),
                     may("root_device", "bool"), may("read_only", "bool"),
                     nested("rate_limiter", limiter(), v1_16)}};
  if (version >= v1_16)
    shapes["patch pmem"] = {{must("id", "string"), nested("rate_limiter", limiter())}};
  return shapes;
}

Shapes all(const Version& version) {
  Shapes shapes = devices(version);
  shapes["machine-config"] = {machine(version, false)};
  shapes["patch machine-config"] = {machine(version, true)};
  shapes["boot-source"] = {{must("kernel_image_path", "string"), may("initrd_path", "string"),
                            may("boot_args", "string")}};
  shapes["logger"] = {{may("log_path", "string"), may("level", "string"), may("show_level", "bool"),
                       may("show_log_origin", "bool"), may("module", "string")}};
  // The one body whose unknown members are not refused.
  shapes["metrics"] = {{must("metrics_path", "string"), may("emit_id", "bool", v1_17),
                        may("properties", "any", v1_17)},
                       true};
  shapes["cpu-config"] = {
      {may("kvm_capabilities", "any"), may("cpuid_modifiers", "any"), may("msr_modifiers", "any")}};
  shapes["actions"] = {
      {one("action_type", {"FlushMetrics", "InstanceStart", "SendCtrlAltDel"}, true)}};
  shapes["patch vm"] = {{one("state", {"Paused", "Resumed"}, true)}};
  shapes["snapshot/create"] = {{one("snapshot_type", {"Diff", "Full"}),
                                must("snapshot_path", "string"), must("mem_file_path", "string")}};
  shapes["snapshot/load"] = {load(version)};
  return shapes;
}

}  // namespace

const Shape* shape_of(std::string_view endpoint, const Version& version) {
  static std::map<Version, Shapes> made;
  auto& shapes = made.try_emplace(version, all(version)).first->second;
  auto found = shapes.find(endpoint);
  return found == shapes.end() ? nullptr : &found->second;
}

}  // namespace attest::sims::firecracker
