// PUT and PATCH: what may come when, and what it does.
#include "tests/sims/firecracker/fault.h"
#include "tests/sims/firecracker/monitor.h"
#include "tests/sims/firecracker/shape.h"

#include <map>

namespace attest::sims::firecracker {
namespace {

// Of the API and of a config file.
struct Words {
  const char* api;
  const char* file;
};
const std::map<std::string, Words, std::less<>> words = {
    {"machine-config", {"Machine config error: ", "VM config error: "}},
    {"boot-source", {"Boot source error: ", "Boot source error: "}},
    {"drives", {"Drive config error: ", "Block device error: "}},
    {"network-interfaces", {"Network config error: ", "Network device error: "}},
    {"pmem", {"Pmem config error: ", "Pmem device error: "}},
    {"vsock", {"Vsock config error: ", "Vsock device error: "}},
    {"balloon", {"Balloon config error: ", "Balloon device error: "}},
    {"logger", {"", ""}},
    {"metrics", {"", ""}},
    {"entropy", {"", ""}},
    {"cpu-config", {"", ""}},
    {"serial", {"", ""}}};

void apply(Resources& resources, const std::string& what, const json& body) {
  if (what == "machine-config") resources.put_machine(body);
  if (what == "boot-source") resources.put_boot_source(body);
  if (what == "drives") resources.put_drive(body);
  if (what == "network-interfaces") resources.put_nic(body);
  if (what == "pmem") resources.put_pmem(body);
  if (what == "vsock") resources.put_vsock(body);
  if (what == "balloon") resources.put_balloon(body);
  if (what == "entropy") resources.entropy = body;
  if (what == "cpu-config") resources.cpu_config = body;
  if (what == "serial") resources.serial = body;
}

}  // namespace

json Monitor::configure(Request& request) {
  const std::string& what = request.path[0];
  bool device = what == "drives" || what == "network-interfaces" || what == "pmem";
  // Developer preview with PCI; without it those three are refused in other words.
  if (started() && device && version_ >= Version{1, 16, 0})
    throw Fault(resources_.pci ? "PCI manager error: this stand-in plugs no devices in"
                               : "PCI is not enabled");
  must_not_run();
  if (what == "logger") {
    log_.configure(request.body);
  } else if (what == "metrics") {
    std::optional<std::string> id;
    if (request.body.value("emit_id", false)) id = options_.values.at("id");
    metrics_.open(request.body["metrics_path"], id, request.body.value("properties", json()));
  } else {
    boot_path_ = boot_path_ || (what != "serial" && what != "cpu-config");
    try {
      apply(resources_, what, request.body);
    } catch (const Fault& refused) {
      throw Fault(words.find(what)->second.api + std::string(refused.what()));
    }
  }
  request.deprecated = (what == "vsock" && request.body.contains("vsock_id")) ||
                       (what == "machine-config" && request.body.contains("cpu_template"));
  return nullptr;
}

json Monitor::mmds(Request& request) {
  json body = json::parse(request.text, nullptr, false);
  if (body.is_discarded())
    throw Fault("An error occurred when deserializing the json body of a request: expected value.");
  if (request.word(1) == "config") {
    must_not_run();
    boot_path_ = true;
    resources_.mmds_config = body;
  } else if (request.method == "PUT") {
    mmds_data_ = body;
  } else {
    if (mmds_data_.is_null()) throw Fault("MMDS error: The MMDS data store is not initialized.");
    mmds_data_.merge_patch(body);
  }
  return nullptr;
}

Task<json> Monitor::put(Request& request) {
  const std::string what = request.word(0);
  if (what == "mmds") co_return mmds(request);
  if (what == "actions") {
    json answer = co_await act(request);
    co_return answer;
  }
  if (what == "snapshot") {
    std::string kind = request.word(1);
    if (kind.empty()) throw Fault("Missing snapshot operation type.");
    if (kind != "create" && kind != "load")
      throw Fault("Invalid request method and/or path: PUT /snapshot/" + kind + ".");
    parse(request, "snapshot/" + kind);
    if (kind == "create") {
      co_await create_snapshot(request.body);
    } else {
      request.deprecated = request.body.contains("mem_file_path") ||
                           request.body.value("enable_diff_snapshots", false);
      co_await load_snapshot(request.body);
    }
    co_return nullptr;
  }
  if (!words.contains(what) || !shape_of(what, version_))
    throw Fault("Invalid request method and/or path: PUT " + what + ".");
  if (what == "drives")
    check_id(request, "drive_id");
  else if (what == "network-interfaces")
    check_id(request, "iface_id");
  else if (what == "pmem")
    check_id(request, "id");
  else
    parse(request, what);
  co_return configure(request);
}

Task<json> Monitor::act(Request& request) {
  parse(request, "actions");
  std::string action = request.body["action_type"];
  if (action == "InstanceStart") {
    must_not_run();
    co_await start();
  } else {
    must_run();
    if (action == "FlushMetrics") {
      metrics_.flush();
    } else {
      button_ = true;
      co_await vm_->ctrl_alt_del();
    }
  }
  co_return nullptr;
}

Task<json> Monitor::patch_balloon(Request& request) {
  bool statistics = request.word(1) == "statistics";
  parse(request, statistics ? "balloon/statistics" : "balloon");
  must_run();
  if (resources_.balloon.is_null())
    throw Fault("Balloon update error: Failed perform action on device: Device not found");
  if (statistics) {
    bool was = resources_.balloon.value("stats_polling_interval_s", 0) != 0;
    bool is = request.body["stats_polling_interval_s"].get<int>() != 0;
    if (was != is)
      throw Fault(
          "Balloon update error: Balloon: Statistics cannot be enabled/disabled after activation.");
  } else {
    int amount = request.body["amount_mib"];
    int memory = resources_.machine["mem_size_mib"];
    if (amount > memory)
      throw Fault("Balloon update error: Balloon: Requested memory should be less than " +
                  std::to_string(memory) + "MiB");
    co_await vm_->set_balloon(amount);
  }
  resources_.balloon.merge_patch(request.body);
  co_return nullptr;
}

Task<json> Monitor::patch_device(Request& request) {
  bool drive = request.path[0] == "drives";
  const char* id = drive ? "drive_id" : "iface_id";
  check_id(request, id);
  must_run();
  auto& devices = drive ? resources_.drives : resources_.nics;
  Device* found = nullptr;
  for (auto& device : devices)
    if (device.config[id] == request.body[id]) found = &device;
  if (!found)
    throw Fault(drive ? "Drive config error: Unable to patch the block device: Failed perform "
                        "action on device: Device not found Please verify the request arguments."
                      : "Network config error: Unable to update the net device: Failed perform "
                        "action on device: Device not found");
  if (drive && request.body.contains("path_on_host")) {
    json changed = found->config;
    changed["path_on_host"] = request.body["path_on_host"];
    try {
      open_drive(changed);
    } catch (const Fault& refused) {
      std::string text = refused.what();
      text.erase(0, text.find("Virtio backend"));
      throw Fault("Drive config error: Unable to patch the block device: Block: " + text +
                  " Please verify the request arguments.");
    }
    co_await vm_->change_drive(request.body[id], request.body["path_on_host"]);
    found->file.reset();
  }
  if (drive && request.body.contains("rate_limiter"))
    co_await vm_->limit_drive(request.body[id], rate_of(request.body));
  found->config.merge_patch(request.body);
  co_return nullptr;
}

Task<json> Monitor::patch(Request& request) {
  const std::string what = request.word(0);
  json answer;
  if (what == "mmds") {
    answer = mmds(request);
  } else if (what == "balloon") {
    answer = co_await patch_balloon(request);
  } else if (what == "drives" || what == "network-interfaces") {
    answer = co_await patch_device(request);
  } else if (what == "vm") {
    parse(request, "vm");
    must_run();
    if (request.body["state"] == "Paused")
      co_await pause();
    else
      co_await resume();
  } else if (what == "machine-config") {
    parse(request, "machine-config");
    if (request.body.empty()) throw Fault("Empty PATCH request.");
    answer = configure(request);
  } else if (what == "pmem" && version_ >= Version{1, 16, 0}) {
    check_id(request, "id");
    must_run();
  } else {
    throw Fault("Invalid request method and/or path: PATCH " + what + ".");
  }
  co_return answer;
}

Task<void> Monitor::run_config(std::string text) {
  const std::string step = "Configuration for VMM from one single json failed: ";
  json config = json::parse(text, nullptr, false);
  if (!config.is_object()) throw Fault(step + "Invalid JSON: expected value at line 1 column 1");
  for (const char* needed : {"drives", "boot-source"})
    if (!config.contains(needed))
      throw Fault(step + "Invalid JSON: missing field `" + needed + "`");
  // In its order. "serial" is no key there.
  for (const char* what :
       {"logger", "metrics", "machine-config", "cpu-config", "balloon", "boot-source", "drives",
        "network-interfaces", "vsock", "entropy", "pmem"}) {
    if (!config.contains(what) || config[what].is_null()) continue;
    json list = config[what].is_array() ? config[what] : json::array({config[what]});
    for (auto& body : list) {
      const Shape* shape = shape_of(what, version_);
      if (!shape || body.is_string()) continue;  // later releases' keys, a template's path
      try {
        check_shape(body, *shape, version_, text);
      } catch (const Fault& refused) {
        throw Fault(step + "Invalid JSON: " + refused.what());
      }
      Request request{.method = "PUT", .path = {what}, .body = body};
      try {
        if (*words.find(what)->second.api)
          apply(resources_, what, body);
        else
          configure(request);
      } catch (const Fault& refused) {
        throw Fault(step + words.find(what)->second.file + refused.what());
      }
    }
  }
  std::string failure;
  try {
    co_await start();
  } catch (const Fault& refused) {
    failure = refused.what();
  }
  if (failure.empty()) co_return;
  failure.erase(0, std::string_view("Start microvm error: ").size());
  throw Fault("Could not Start MicroVM from one single json: " + failure);
}

}  // namespace attest::sims::firecracker
