// What sim-firecracker says to those who drive it wrongly, and how it ends: without a guest.
#include "lib/base/file.h"
#include "tests/sims/sim_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace attest::sims {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string program() { return std::getenv("ATTEST_SIM_FIRECRACKER"); }

class SimFirecracker : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }
  /// One that serves its API at path("api").
  SimProcess serve(std::vector<std::string> env = {}, std::vector<std::string> flags = {}) {
    std::vector<std::string> argv = {program(), "--api-sock", path("api")};
    argv.insert(argv.end(), flags.begin(), flags.end());
    return SimProcess(argv, path("out"), std::move(env));
  }
  SimSocket api() { return SimSocket(path("api")); }
  std::string output() { return base::read_file(path("out")); }

  base::TempDir dir_;
};

struct Refusal {
  const char *method, *target, *body, *text;
};

TEST_F(SimFirecracker, RefusesInFirecrackersWords) {
  auto sim = serve();
  auto api = this->api();
  const std::string json = "An error occurred when deserializing the json body of a request: ";
  const std::string off = "The requested operation is not supported before starting the microVM.";
  for (auto& [method, target, body, text] : std::vector<Refusal>{
           {"PUT", "/machine-config", R"({"vcpu_count": 33, "mem_size_mib": 128})",
            "Machine config error: The number of vCPUs must be greater than 0, less than 32"},
           {"PUT", "/machine-config", R"({"vcpu_count": 1, "mem_size_mib": 0})",
            "Machine config error: The memory size (MiB) is either 0"},
           {"PUT", "/machine-config", R"({"vcpu_count": 3, "mem_size_mib": 128, "smt": true})",
            "Machine config error: The number of vCPUs"},
           {"PUT", "/machine-config", R"({"vcpu_count": 1})", "missing field `mem_size_mib`"},
           {"PUT", "/machine-config", R"({"vcpu_count": "1", "mem_size_mib": 128})",
            "invalid type: string \"1\", expected u8 at line 1 column 18"},
           {"PUT", "/machine-config",
            R"({"vcpu_count": 1, "mem_size_mib": 128, "huge_pages": "Transparent"})",
            "unknown variant `Transparent`, expected `None` or `2M`"},
           {"PUT", "/machine-config", "{", "EOF while parsing a value"},
           {"PUT", "/machine-config", "", "Empty PUT request."},
           {"PATCH", "/vm", "", "Empty PATCH request."},
           {"GET", "/machine-config", "{}", "GET request cannot have a body."},
           {"GET", "/nothing", "", "Invalid request method and/or path: GET nothing."},
           {"PUT", "/boot-source", R"({"kernel_image_path": "/nothing"})",
            "Boot source error: The kernel file cannot be opened: No such file or directory (os "
            "error 2)"},
           {"PUT", "/drives/a-b", R"({"drive_id": "a-b", "is_root_device": true})",
            "API Resource IDs can only contain alphanumeric characters and underscores."},
           {"PUT", "/drives/a", R"({"drive_id": "b", "is_root_device": true})",
            "The id from the path does not match the id from the body!"},
           {"PUT", "/drives/a", R"({"drive_id": "a", "is_root_device": true})",
            "Drive config error: Unable to create the virtio block device: Invalid block config."},
           {"PUT", "/drives/a",
            R"({"drive_id": "a", "is_root_device": true, "path_on_host": "/nothing"})",
            "Virtio backend error: Error manipulating the backing file: No such file or directory "
            "(os error 2) /nothing"},
           {"PUT", "/network-interfaces/e", R"({"iface_id": "f", "host_dev_name": "tap0"})",
            "The id from the path [e] does not match the id from the body [f]!"},
           {"PUT", "/network-interfaces/e",
            R"({"iface_id": "e", "host_dev_name": "a_name_that_is_too_long"})",
            "Network config error: Could not create the network device: Open tap device failed: "
            "Invalid interface name"},
           {"PUT", "/actions", R"({"action_type": "InstanceStart"})",
            "Start microvm error: Cannot start microvm without kernel configuration."},
           {"PUT", "/actions", R"({"action_type": "Explode"})", "unknown variant `Explode`"},
           {"PUT", "/actions", R"({"action_type": "SendCtrlAltDel"})", off.c_str()},
           {"PATCH", "/vm", R"({"state": "Paused"})", off.c_str()},
           {"PATCH", "/drives/a", R"({"drive_id": "a"})", off.c_str()},
           {"PUT", "/snapshot/create", R"({"snapshot_path": "a", "mem_file_path": "b"})",
            off.c_str()},
           {"PUT", "/snapshot/load", R"({"snapshot_path": "a"})",
            "missing field: either `mem_backend` or `mem_file_path` is required"},
           {"PUT", "/snapshot/load", R"({"snapshot_path": "a", "huge_pages": "None"})",
            "unknown field `huge_pages`, expected one of `snapshot_path`"},
           {"GET", "/balloon", "", "Balloon config error: No balloon device found."},
       }) {
    auto reply = api.request(method, target, body);
    EXPECT_EQ(reply.status, 400) << target << " " << body;
    EXPECT_THAT(reply.head, StartsWith("HTTP/1.1 400 \r\nServer: Firecracker API\r\n"));
    std::string quoted = nlohmann::json(text).dump();
    EXPECT_THAT(reply.body, HasSubstr(quoted.substr(1, quoted.size() - 2)));
    EXPECT_THAT(reply.body, StartsWith("{\"fault_message\":"));
  }
  EXPECT_TRUE(sim.running());
  EXPECT_THAT(api.request("GET", "/").body, HasSubstr("\"state\":\"Not started\""));
}

TEST_F(SimFirecracker, KnowsMembersOfItsReleaseOnly) {
  struct {
    const char *version, *target, *body;
    bool known;
  } rows[] = {
      {"1.10.1", "/snapshot/load", R"({"snapshot_path": "a", "network_overrides": []})", false},
      {"1.14.0", "/snapshot/load", R"({"snapshot_path": "a", "network_overrides": []})", true},
      {"1.14.0", "/snapshot/load", R"({"snapshot_path": "a", "clock_realtime": true})", false},
      {"1.16.1", "/snapshot/load", R"({"snapshot_path": "a", "clock_realtime": true})", true},
      {"1.16.1", "/snapshot/load", R"({"snapshot_path": "a", "huge_pages": "None"})", false},
      {"1.17.0", "/snapshot/load", R"({"snapshot_path": "a", "huge_pages": "None"})", true},
      {"1.10.1", "/serial", R"({"serial_out_path": "a"})", false},
      {"1.14.0", "/serial", R"({"serial_out_path": "a"})", true},
      {"1.10.1", "/pmem/a", R"({"id": "a", "path_on_host": "/nothing"})", false},
      {"1.14.0", "/pmem/a", R"({"id": "a", "path_on_host": "/nothing"})", true},
  };
  for (auto& row : rows) {
    std::filesystem::remove(path("api"));
    auto sim = serve({std::string("ATTEST_SIM_VERSION=") + row.version});
    auto api = this->api();
    EXPECT_THAT(api.request("GET", "/version").body, HasSubstr(row.version));
    auto body = api.request("PUT", row.target, row.body).body;
    bool unknown = body.find("unknown field") != std::string::npos ||
                   body.find("Invalid request method") != std::string::npos;
    EXPECT_EQ(!unknown, row.known) << row.version << row.target << row.body << body;
  }
}

TEST_F(SimFirecracker, LimitsItsHttp) {
  auto sim = serve();
  auto api = this->api();
  EXPECT_EQ(api.request("PUT", "/entropy", "{}").head,
            "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n");
  api.send("PUT /entropy HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(api.reply().status, 100);
  api.send("{}");
  EXPECT_EQ(api.reply().status, 204);
  api.send("PUT /entropy HTTP/1.1\r\nContent-Length: 51201\r\n\r\n");
  EXPECT_EQ(api.reply().body,
            "{ \"error\": \"Request payload with size 51201 is larger than the limit of 51200 "
            "allowed by server.\nAll previous unanswered requests will be dropped.\" }");
  api.send("GET /" + std::string(1100, 'x'));
  EXPECT_THAT(api.reply().body, HasSubstr("\"error\": \"Invalid request."));
  auto fresh = this->api();
  fresh.send("POST / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(fresh.reply().body, HasSubstr("Invalid HTTP Method: Unsupported HTTP method."));
  std::vector<SimSocket> others;
  for (int i = 0; i < 8; ++i) {
    others.push_back(this->api());
    EXPECT_EQ(others.back().request("GET", "/version").status, 200);
  }
  auto surplus = this->api();
  auto reply = surplus.reply();
  EXPECT_THAT(reply.head, StartsWith("HTTP/1.1 503\r\n"));
  EXPECT_EQ(reply.body, "{ \"error\": \"Too many open connections\" }");
  EXPECT_TRUE(surplus.at_end());
}

TEST_F(SimFirecracker, BindsVsockAtPut) {
  auto sim = serve();
  auto api = this->api();
  std::string body = R"({"guest_cid": 3, "uds_path": ")" + path("vsock") + "\"}";
  EXPECT_EQ(api.request("PUT", "/vsock", body).status, 204);
  EXPECT_TRUE(std::filesystem::is_socket(path("vsock")));
  // Only its own old path is taken away.
  EXPECT_EQ(api.request("PUT", "/vsock", body).status, 204);
  body.insert(1, R"("vsock_id": "x", )");
  EXPECT_THAT(api.request("PUT", "/vsock", body).head, HasSubstr("Deprecation: true"));
  EXPECT_EQ(
      api.request("PUT", "/vsock", R"({"guest_cid": 3, "uds_path": ")" + path("other") + "\"}")
          .status,
      204);
  EXPECT_FALSE(std::filesystem::exists(path("vsock")));
  sim.kill();
  EXPECT_TRUE(std::filesystem::exists(path("other")));
  EXPECT_TRUE(std::filesystem::exists(path("api")));
}

TEST_F(SimFirecracker, NamesATakenVsockPath) {
  auto sim = serve();
  auto api = this->api();
  base::write_file(path("taken"), "");
  auto reply =
      api.request("PUT", "/vsock", R"({"guest_cid": 3, "uds_path": ")" + path("taken") + "\"}");
  EXPECT_THAT(reply.body,
              HasSubstr("Vsock config error: Cannot create backend for vsock device: Error binding "
                        "to the host-side Unix socket: Address in use (os error 98)"));
}

// In a network of its own, which the stand-in inherits.
TEST_F(SimFirecracker, OpensTapsAtPut) {
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
    GTEST_SKIP() << "no network namespace can be made here";
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/net/tun cannot be opened";
  auto sim = serve();
  auto api = this->api();
  auto put = [&](const std::string& id, const std::string& tap, const std::string& more = "") {
    return api
        .request("PUT", "/network-interfaces/" + id,
                 R"({"iface_id": ")" + id + R"(", "host_dev_name": ")" + tap + "\"" + more + "}")
        .body;
  };
  const std::string mac = R"(, "guest_mac": "52:54:00:12:00:01")";
  EXPECT_EQ(put("eth0", "tap0", mac), "");
  EXPECT_EQ(put("eth0", "tap0", mac), "") << "it lets its own one go first";
  EXPECT_THAT(
      put("eth1", "tap0"),
      HasSubstr("Error while creating ifreq structure: Resource busy (os error 16). Invalid "
                "TUN/TAP Backend provided by tap0."));
  EXPECT_THAT(put("eth1", "tap1", mac),
              HasSubstr("Network config error: The MAC address is already in use: "
                        "52:54:00:12:00:01"));
  EXPECT_THAT(put("eth1", "tap1", R"(, "mtu": 60)"),
              HasSubstr("MTU 60 is out of range [68, 65535]"));
  EXPECT_NE(::if_nametoindex("tap0"), 0u);
}

TEST_F(SimFirecracker, EndsAsTheOriginalDoes) {
  base::write_file(path("api"), "");
  auto taken = serve();
  EXPECT_EQ(taken.wait(), 1);
  EXPECT_THAT(output(), HasSubstr("Failed to open the API socket at: " + path("api") +
                                  ". Check that it is not already used."));
  EXPECT_THAT(output(), HasSubstr("Firecracker exiting with error. exit_code=1"));
  SimProcess unknown({program(), "--nothing"}, path("out"));
  EXPECT_EQ(unknown.wait(), 153);
  EXPECT_THAT(output(), HasSubstr("Found argument '--nothing' which wasn't expected"));
  SimProcess level({program(), "--level", "loud"}, path("out"));
  EXPECT_EQ(level.wait(), 152);
  SimProcess lonely({program(), "--no-api"}, path("out"));
  EXPECT_EQ(lonely.wait(), 153);
  base::write_file(path("config"), R"({"boot-source": {"kernel_image_path": "/nothing"}})");
  SimProcess bad({program(), "--no-api", "--config-file", path("config")}, path("out"));
  EXPECT_EQ(bad.wait(), 1);
  EXPECT_THAT(output(), HasSubstr("missing field `drives`"));
  SimProcess version({program(), "--version"}, path("out"));
  EXPECT_EQ(version.wait(), 0);
  EXPECT_THAT(output(), StartsWith("Firecracker v1.16.1\n\n"));
}

TEST_F(SimFirecracker, FailsALoadFatallyButNotAFaultyCall) {
  std::string body = R"({"snapshot_path": ")" + path("none") +
                     R"(", "mem_backend": {"backend_type": "File", "backend_path": ")" +
                     path("none") + "\"}}";
  auto sim = serve();
  auto api = this->api();
  EXPECT_EQ(api.request("PUT", "/entropy", "{}").status, 204);
  EXPECT_THAT(api.request("PUT", "/snapshot/load", body).body,
              HasSubstr("Loading a microVM snapshot not allowed after configuring boot-specific "
                        "resources."));
  EXPECT_EQ(api.request("GET", "/version").status, 200);
  sim.kill();
  std::filesystem::remove(path("api"));
  auto second = serve();
  auto other = this->api();
  EXPECT_THAT(other.request("PUT", "/snapshot/load", body).body,
              HasSubstr("Load snapshot error: Failed to restore from snapshot: Failed to get "
                        "snapshot state from file: Failed to open snapshot file: No such file or "
                        "directory (os error 2)"));
  EXPECT_EQ(second.wait(), 1);
}

TEST_F(SimFirecracker, RefusesABzImageBefore117) {
  std::string image(1024, '\0');
  image.replace(0x202, 4, "HdrS");
  base::write_file(path("bzImage"), image);
  auto sim = serve();
  auto api = this->api();
  EXPECT_EQ(
      api.request("PUT", "/boot-source", R"({"kernel_image_path": ")" + path("bzImage") + "\"}")
          .status,
      204);
  EXPECT_THAT(api.request("PUT", "/actions", R"({"action_type": "InstanceStart"})").body,
              HasSubstr("Invalid Elf magic number"));
}

TEST_F(SimFirecracker, WritesItsLogAndMetrics) {
  auto sim = serve({}, {"--log-path", path("log")});
  auto api = this->api();
  std::string body = R"({"metrics_path": ")" + path("metrics") + "\"}";
  EXPECT_EQ(api.request("PUT", "/metrics", body).status, 204);
  EXPECT_THAT(api.request("PUT", "/metrics", body).body,
              HasSubstr("Reinitialization of metrics not allowed."));
  EXPECT_THAT(base::read_file(path("log")), HasSubstr("[anonymous-instance:main] Running "
                                                      "Firecracker v1.16.1\n"));
  EXPECT_THAT(base::read_file(path("log")), HasSubstr("API server started."));
}

TEST_F(SimFirecracker, MakesTrouble) {
  auto sim =
      serve({"ATTEST_SIM_TROUBLE=drop:GET /version@2;http500:PUT /entropy,garbage:GET "
             "/vm/config,die:PUT /actions"});
  auto api = this->api();
  EXPECT_EQ(api.request("GET", "/version").status, 200);
  EXPECT_EQ(api.request("PUT", "/entropy", "{}").status, 500);
  EXPECT_EQ(api.request("GET", "/vm/config").status, 0);
  auto dropped = this->api();
  dropped.send("GET /version HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(dropped.at_end());
  auto last = this->api();
  last.send("PUT /actions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_TRUE(last.at_end());
  EXPECT_EQ(sim.wait(), 128 + 9);
}

TEST_F(SimFirecracker, ChecksRequestsAgainstTheDescription) {
  base::write_file(path("firecracker-1.16.1.openapi.yaml"), R"(
swagger: "2.0"
paths:
  /version:
    get: {}
  /vsock:
    put:
      parameters:
      - {name: body, in: body, required: true, schema: {$ref: "#/definitions/Vsock"}}
definitions:
  Vsock:
    type: object
    required: [guest_cid]
    properties:
      guest_cid: {type: integer, minimum: 3}
      uds_path: {type: string}
)");
  auto sim = serve({"ATTEST_SIM_SPECS=" + dir_.path().string()});
  auto api = this->api();
  EXPECT_EQ(api.request("GET", "/version").status, 200);
  auto put = [&](const std::string& cid, const std::string& name) {
    return api
        .request("PUT", "/vsock",
                 "{\"guest_cid\": " + cid + R"(, "uds_path": ")" + path(name) + "\"}")
        .body;
  };
  EXPECT_EQ(put("3", "a"), "");
  EXPECT_THAT(put("2", "b"), HasSubstr("PUT /vsock: guest_cid: 2 is less than 3"));
  EXPECT_THAT(api.request("PUT", "/entropy", "{}").body,
              HasSubstr("PUT /entropy: not in the API description"));
}

}  // namespace
}  // namespace attest::sims
