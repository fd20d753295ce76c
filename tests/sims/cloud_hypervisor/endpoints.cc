// Requests: which there are, and what may be asked when.
#include "tests/sims/cloud_hypervisor/monitor.h"

#include <unistd.h>

namespace attest::sims::cloud_hypervisor {
namespace {

constexpr std::string_view base_path = "/api/v1/";
constexpr Version not_found_since{53, 0, 0};  ///< 404 instead of 500 for a VM that is not there

bool is_get(std::string_view name) {
  return name == "vmm.ping" || name == "vm.info" || name == "vm.counters";
}

}  // namespace

Monitor::Monitor(asio::any_io_executor loop, Version version, bool stays, Trouble& trouble,
                 std::function<void(int)> finish)
    : loop_(loop),
      version_(version),
      stays_(stays),
      trouble_(trouble),
      finish_(std::move(finish)),
      spec_(SpecCheck::from_environment("cloud-hypervisor-53.0.openapi.yaml")),
      one_at_a_time_(loop) {}

void Monitor::must_exist() const {
  if (!config_.is_null()) return;
  throw Refusal(version_ >= not_found_since ? 404 : 500, {"The VM is not created"});
}

void Monitor::must_be_booted(const char* what) const {
  must_exist();
  if (!vm_) throw failed({std::string("The VM could not ") + what, "VM is not running"});
}

Task<HttpReply> Monitor::handle(HttpRequest request) {
  auto lock = co_await one_at_a_time_.lock();
  HttpReply reply;
  auto refuse = [&reply](const Refusal& refusal) {
    reply.status = refusal.status();
    reply.body = refusal.body();
  };
  try {
    if (!request.target.starts_with(base_path)) throw Refusal(404, {"Not found"});
    auto name = request.target.substr(base_path.size());
    if ((request.method == "GET") != is_get(name)) throw Refusal(404, {"Bad Request"});
    json body;
    if (!request.body.empty()) {
      body = json::parse(request.body, nullptr, /*allow_exceptions=*/false);
      if (body.is_discarded())
        throw Refusal(400, {"Failed to deserialize the HTTP request body", "it is not JSON"});
    }
    // The original ignores what it does not know: a typo would be silent.
    json described = body;
    // Code has them, the description has not.
    if (name == "vm.restore" && described.is_object()) described.erase("net_fds");
    auto problem =
        spec_.problem(request.method, "/" + name, request.body.empty() ? nullptr : &described);
    if (!problem.empty()) throw Refusal(400, {"not as the API's description has it", problem});
    auto answer = co_await serve(request.method, name, std::move(body), std::move(request.fds));
    if (!answer.is_null()) {
      reply.status = 200;
      reply.body = answer.dump();
    }
    if (name == "vmm.shutdown") reply.after = [this] { finish_(0); };
  } catch (const Refusal& refusal) {
    refuse(refusal);
  } catch (const json::exception& odd) {
    refuse(Refusal(400, {"Failed to deserialize the HTTP request body", odd.what()}));
  } catch (const std::exception& failure) {
    refuse(failed({failure.what()}));
  }
  co_return reply;
}

Task<json> Monitor::serve(std::string, std::string name, json body, Fds fds) {
  json none;
  if (name == "vmm.ping")
    co_return json{{"build_version", "v" + version_.text(2)},
                   {"version", version_.text()},
                   {"pid", ::getpid()},
                   {"features", json::array({"kvm"})}};
  if (name == "vm.info") co_return info();
  if (name == "vm.counters") co_return json::object();
  if (name == "vm.create") {
    create(std::move(body));
  } else if (name == "vm.boot") {
    must_exist();
    if (vm_) throw failed({"The VM could not boot", "VM is already running"});
    events_.tell("vm", "booting");
    co_await boot();
    events_.tell("vm", "booted");
  } else if (name == "vm.pause") {
    co_await pause();
  } else if (name == "vm.resume") {
    co_await resume();
  } else if (name == "vm.shutdown") {
    must_be_booted("be shut down");
    co_await shut_down();
  } else if (name == "vm.delete" || name == "vmm.shutdown") {
    if (vm_) co_await shut_down();
    serial_.reset();
    config_ = nullptr;
    if (name == "vmm.shutdown") events_.tell("vmm", "shutdown");
  } else if (name == "vm.reboot") {
    must_be_booted("reboot");
    co_await reboot();
  } else if (name == "vm.power-button") {
    must_be_booted("be powered off");
    co_await vm_->power_button();
  } else if (name == "vm.nmi") {
    must_be_booted("take an NMI");
  } else if (name == "vm.resize") {
    must_be_booted("be resized");
    co_await resize(std::move(body));
  } else if (name == "vm.add-net") {
    co_return add_net(std::move(body), std::move(fds));
  } else if (name == "vm.add-disk") {
    co_return add_device("disks", std::move(body));
  } else if (name == "vm.add-pmem") {
    co_return add_device("pmem", std::move(body));
  } else if (name == "vm.remove-device") {
    remove_device(body);
  } else if (name == "vm.snapshot") {
    must_be_booted("be snapshotted");
    co_await snapshot(body);
  } else if (name == "vm.restore") {
    co_await restore(std::move(body), std::move(fds));
  } else {
    throw Refusal(404, {"Not found"});
  }
  co_return none;
}

json Monitor::info() const {
  must_exist();
  auto bytes = static_cast<std::uint64_t>(memory_mb(config_)) << 20;
  return {{"config", config_},
          {"state", !vm_      ? "Created"
                    : paused_ ? "Paused"
                              : "Running"},
          {"memory_actual_size", bytes + config_["memory"].value("hotplugged_size", 0ull)},
          {"device_tree", json::object()}};
}

void Monitor::create(json config) {
  if (!config_.is_null()) throw failed({"The VM could not be created", "VM is already created"});
  complete(config);
  // "we do not accept FDs from the socket currently"
  if (config.contains("net") && config["net"].is_array())
    for (auto& net : config["net"]) net.erase("fds");
  serial_ = std::make_unique<SerialEnd>(loop_, config.value("serial", json()),
                                        version_ >= Version{53, 0, 0});
  config_ = std::move(config);
  taps_.clear();
}

namespace {

json& device_list(json& config, const char* name) {
  if (!config.contains(name) || !config[name].is_array()) config[name] = json::array();
  return config[name];
}

}  // namespace

json Monitor::add_device(const char* name, json body) {
  must_exist();
  if (vm_)
    throw failed({"The device could not be added to the VM",
                  "this stand-in adds devices before the boot only"});
  auto& devices = device_list(config_, name);
  if (!body.contains("id") || body["id"].is_null())
    body["id"] = std::string("_") + name + std::to_string(devices.size());
  for (auto& device : devices)
    if (device["id"] == body["id"])
      throw failed({"The device could not be added to the VM", "Identifier is not unique"});
  devices.push_back(std::move(body));
  return nullptr;
}

json Monitor::add_net(json body, Fds fds) {
  std::size_t queues = body.value("num_queues", 2);
  if (!fds.empty() && queues != 2 * fds.size())
    throw failed({"The network device could not be added to the VM",
                  "Number of queues to virtio_net does not match the number of FDs"});
  body.erase("fds");
  auto answer = add_device("net", body);
  if (!fds.empty()) taps_[config_["net"].back()["id"]] = fds.front();
  return answer;
}

void Monitor::remove_device(const json& body) {
  must_exist();
  if (vm_)
    throw failed({"The device could not be removed from the VM",
                  "this stand-in removes devices before the boot only"});
  for (auto* name : {"disks", "net", "pmem"}) {
    auto& devices = device_list(config_, name);
    for (auto device = devices.begin(); device != devices.end(); ++device)
      if ((*device)["id"] == body.at("id")) {
        devices.erase(device);
        return;
      }
  }
  throw failed({"The device could not be removed from the VM", "Unknown device id"});
}

}  // namespace attest::sims::cloud_hypervisor
