#include "tests/sims/firecracker/monitor.h"

#include "lib/base/text.h"
#include "tests/sims/firecracker/fault.h"
#include "tests/sims/firecracker/shape.h"

namespace attest::sims::firecracker {
namespace {

constexpr auto metrics_interval = std::chrono::seconds(60);

std::string fault_body(const std::string& text) {
  json body = {{"fault_message", text}};
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string spec_file(const Version& version) {
  return version >= Version{1, 17, 0} ? "firecracker-1.17.0-dev.openapi.yaml"
                                      : "firecracker-1.16.1.openapi.yaml";
}

}  // namespace

int snapshot_version(const Version& version) {
  if (version >= Version{1, 17, 0}) return 11;
  if (version >= Version{1, 16, 0}) return 10;
  return version >= Version{1, 14, 0} ? 8 : 4;
}

Monitor::Monitor(asio::any_io_executor loop, Options options, Version version, Trouble& trouble,
                 std::function<void(int)> finish)
    : loop_(loop),
      options_(std::move(options)),
      version_(version),
      trouble_(trouble),
      finish_(std::move(finish)),
      spec_(SpecCheck::from_environment(spec_file(version))),
      one_at_a_time_(loop),
      log_(options_.values.at("id")) {
  resources_.pci = options_.has("enable-pci");
  asio::co_spawn(loop_, flush_regularly(), [](std::exception_ptr) {});
}

Task<void> Monitor::flush_regularly() {
  for (;;) {
    asio::steady_timer timer(loop_, metrics_interval);
    co_await timer.async_wait(asio::use_awaitable);
    if (started() && !paused_) metrics_.flush();
  }
}

void Monitor::end() { forget_guest(); }

void Monitor::must_not_run() const {
  if (started())
    throw Fault("The requested operation is not supported after starting the microVM.");
}

void Monitor::must_run() const {
  if (!started())
    throw Fault("The requested operation is not supported before starting the microVM.");
}

void Monitor::parse(Request& request, const std::string& endpoint) {
  std::string name = request.method == "PATCH" ? "patch " + endpoint : endpoint;
  const Shape* shape = shape_of(name, version_);
  if (!shape)
    throw Fault("Invalid request method and/or path: " + request.method + " " + request.path[0] +
                ".");
  try {
    request.body = parse_body(request.text, *shape, version_);
  } catch (const Fault& refused) {
    throw Fault(std::string("An error occurred when deserializing the json body of a request: ") +
                refused.what() + ".");
  }
}

void Monitor::check_id(Request& request, const char* member) {
  std::string id = request.word(1);
  if (id.empty()) throw Fault("The ID cannot be empty.");
  for (unsigned char byte : id)
    if (byte != '_' && !std::isalnum(byte))
      throw Fault("API Resource IDs can only contain alphanumeric characters and underscores.");
  parse(request, request.path[0]);
  std::string inside = request.body[member];
  if (inside == id) return;
  if (request.path[0] == "network-interfaces")
    throw Fault("The id from the path [" + id + "] does not match the id from the body [" + inside +
                "]!");
  throw Fault("The id from the path does not match the id from the body!");
}

json Monitor::get(Request& request) {
  std::string what = request.word(0);
  if (request.has_body) throw Fault("GET request cannot have a body.");
  if (what.empty())
    return {{"id", options_.values.at("id")},
            {"state", !started() ? "Not started"
                      : paused_  ? "Paused"
                                 : "Running"},
            {"vmm_version", version_.text()},
            {"app_name", "Firecracker"}};
  if (what == "version") return {{"firecracker_version", version_.text()}};
  if (what == "machine-config") return resources_.machine;
  if (what == "vm" && request.word(1) == "config") return resources_.full_config();
  if (what == "mmds") return mmds_data_.is_null() ? json::object() : mmds_data_;
  if (what == "balloon" && request.word(1).empty()) {
    if (resources_.balloon.is_null()) throw Fault("Balloon config error: No balloon device found.");
    return resources_.balloon;
  }
  if (what == "balloon" && request.word(1) == "statistics") {
    must_run();
    if (resources_.balloon.is_null() ||
        resources_.balloon.value("stats_polling_interval_s", 0) == 0)
      throw Fault("Internal VMM error: Balloon: Received stats query when stats are disabled.");
    int amount = resources_.balloon["amount_mib"];
    return {{"target_pages", amount * 256},
            {"actual_pages", amount * 256},
            {"target_mib", amount},
            {"actual_mib", amount}};
  }
  throw Fault("Invalid request method and/or path: GET " + what + ".");
}

Task<json> Monitor::serve(Request& request) {
  bool empty = !request.has_body;
  if (request.method == "GET") co_return get(request);
  if (request.method == "DELETE") {
    if (!empty) throw Fault("Empty Delete request.");
    must_run();
    throw Fault("PCI is not enabled");
  }
  if (request.method == "PUT" && empty) throw Fault("Empty PUT request.");
  if (request.method == "PATCH" && empty) throw Fault("Empty PATCH request.");
  json answer;
  if (request.method == "PUT")
    answer = co_await put(request);
  else
    answer = co_await patch(request);
  co_return answer;
}

Task<HttpReply> Monitor::handle(HttpRequest raw) {
  auto lock = co_await one_at_a_time_.lock();
  Request request{.method = raw.method, .text = raw.body, .has_body = !raw.body.empty()};
  for (auto& word : base::split(raw.target, '/'))
    if (!word.empty()) request.path.push_back(word);
  std::string verb = raw.method == "GET" ? "Get" : raw.method == "PUT" ? "Put" : "Patch";
  log_.info("The API server received a " + verb + " request on \"" + raw.target + "\"" +
            (request.has_body ? " with body " + json(raw.body).dump(-1, ' ', false,
                                                                    json::error_handler_t::replace)
                              : "") +
            ".");
  metrics_.count("api_server", raw.method);
  HttpReply reply;
  try {
    json body = json::parse(raw.body, nullptr, false);
    std::string problem;
    // What is no JSON has words of its own; DELETE is missing in the description.
    if (raw.method != "DELETE" && (!request.has_body || !body.is_discarded()))
      problem = spec_.problem(raw.method, raw.target, request.has_body ? &body : nullptr);
    json answer;
    answer = co_await serve(request);
    if (!problem.empty()) throw Fault("not as the API description has it: " + problem);
    reply.deprecated = request.deprecated;
    if (!answer.is_null()) {
      reply.status = 200;
      reply.body = answer.dump();
      log_.info("The request was executed successfully. Status code: 200 OK.");
    } else {
      log_.info("The request was executed successfully. Status code: 204 No Content.");
    }
  } catch (const Fault& refused) {
    reply.status = 400;
    reply.body = fault_body(refused.what());
    log_.error(std::string("Received Error. Status code: 400 Bad Request. Message: ") +
               refused.what());
    if (refused.fatal()) reply.after = [this] { finish_(1); };
  }
  co_return reply;
}

}  // namespace attest::sims::firecracker
