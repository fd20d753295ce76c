// What sim-cloud-hypervisor says to those who drive it wrongly, and how it ends: without a guest.
#include "lib/base/file.h"
#include "tests/sims/sim_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>

namespace attest::sims {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class SimCloudHypervisor : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }
  /// One that serves its API at path("api").
  SimProcess serve(std::vector<std::string> env = {}, std::vector<std::string> flags = {}) {
    std::vector<std::string> argv = {std::getenv("ATTEST_SIM_CLOUD_HYPERVISOR"), "--api-socket",
                                     "path=" + path("api")};
    argv.insert(argv.end(), flags.begin(), flags.end());
    return SimProcess(argv, path("out"), std::move(env));
  }
  SimSocket api() { return SimSocket(path("api")); }
  static SimReply put(SimSocket& api, const std::string& call, const json& body = {}) {
    return api.request("PUT", "/api/v1/" + call, body.is_null() ? "" : body.dump());
  }
  static std::string state(SimSocket& api) {
    return json::parse(api.request("GET", "/api/v1/vm.info").body).at("state");
  }
  std::string output() { return base::read_file(path("out")); }
  json config() const {
    return {{"payload", {{"kernel", path("no-kernel")}}},
            {"serial", {{"mode", "Null"}}},
            {"console", {{"mode", "Off"}}}};
  }

  base::TempDir dir_;
};

TEST_F(SimCloudHypervisor, RefusesWhatTheStateForbids) {
  auto sim = serve();
  auto api = this->api();
  EXPECT_THAT(api.request("GET", "/api/v1/vmm.ping").body, HasSubstr("\"version\":\"53.0.0\""));
  for (const char* call :
       {"vm.boot", "vm.pause", "vm.resume", "vm.shutdown", "vm.reboot", "vm.power-button"}) {
    auto reply = put(api, call);
    EXPECT_EQ(reply.status, 404) << call;
    EXPECT_THAT(reply.body, HasSubstr("The VM is not created")) << call;
  }
  EXPECT_EQ(put(api, "vm.create", config()).status, 204);
  EXPECT_EQ(state(api), "Created");
  EXPECT_THAT(put(api, "vm.create", config()).body, HasSubstr("VM is already created"));
  auto early = put(api, "vm.pause");
  EXPECT_EQ(early.status, 500);
  EXPECT_THAT(early.body, HasSubstr("VM is not running"));
  auto boot = put(api, "vm.boot");
  EXPECT_EQ(boot.status, 500);
  EXPECT_THAT(boot.body, HasSubstr("No such file or directory (os error 2)"));
  EXPECT_EQ(state(api), "Created");
  EXPECT_EQ(put(api, "vm.delete").status, 204);
  EXPECT_EQ(api.request("GET", "/api/v1/vm.info").status, 404);
}

TEST_F(SimCloudHypervisor, RefusesWhatItCannotRead) {
  auto sim = serve();
  auto api = this->api();
  struct Row {
    json body;
    std::string text;
  };
  for (auto& [body, text] : std::vector<Row>{
           {{{"serial", {{"mode", "Null"}}}}, "missing field `payload`"},
           {{{"payload", json::object()}, {"disks", "a"}}, "invalid type for `disks`"},
           {{{"payload", json::object()}, {"cpus", {{"boot_vcpus", "1"}}}},
            "invalid type for `cpus`"},
       }) {
    auto reply = put(api, "vm.create", body);
    EXPECT_EQ(reply.status, 400) << body;
    EXPECT_THAT(reply.body, HasSubstr(text));
  }
  EXPECT_EQ(api.request("PUT", "/api/v1/vm.create", "{").status, 400);
  EXPECT_EQ(api.request("PUT", "/api/v1/vm.explode").status, 404);
  EXPECT_EQ(api.request("GET", "/vm.info").status, 404);
  for (const json& body :
       {json{{"source_url", "/no/scheme"}}, json{{"source_url", "file://" + path("nothing")}}})
    EXPECT_EQ(put(api, "vm.restore", body).status, 500) << body;
  fs::create_directory(path("saved"));
  base::write_file(path("saved/config.json"), "{");
  EXPECT_THAT(put(api, "vm.restore", {{"source_url", "file://" + path("saved")}}).body,
              HasSubstr("config.json"));
  base::write_file(path("saved/config.json"), config().dump());
  base::write_file(path("saved/state.json"), "garbage");
  EXPECT_THAT(put(api, "vm.restore", {{"source_url", "file://" + path("saved")}}).body,
              HasSubstr("state.json"));
  EXPECT_TRUE(sim.running());
}

TEST_F(SimCloudHypervisor, FollowsItsRelease) {
  {
    auto sim = serve({"ATTEST_SIM_VERSION=46.0"});
    auto api = this->api();
    EXPECT_EQ(put(api, "vm.boot").status, 500) << "404 came with 53";
  }
  auto old = serve({"ATTEST_SIM_VERSION=46.0"}, {"--no-shutdown"});
  EXPECT_EQ(old.wait(), 1);
  EXPECT_THAT(output(), HasSubstr("Unrecognized argument: --no-shutdown"));
}

TEST_F(SimCloudHypervisor, KeepsItsSocketToItself) {
  auto sim = serve();
  auto api = this->api();
  auto second = serve();
  EXPECT_EQ(second.wait(), 1);
  EXPECT_THAT(output(), HasSubstr("is taken"));
  EXPECT_EQ(api.request("GET", "/api/v1/vmm.ping").status, 200);
}

TEST_F(SimCloudHypervisor, TellsItsEventsAndEndsInOrder) {
  auto sim = serve({}, {"--event-monitor", "path=" + path("events")});
  auto api = this->api();
  put(api, "vm.create", config());
  put(api, "vm.boot");
  EXPECT_EQ(put(api, "vmm.shutdown").status, 204);
  EXPECT_EQ(sim.wait(), 0);
  auto events = base::read_file(path("events"));
  EXPECT_THAT(events, HasSubstr("\"starting\""));
  EXPECT_THAT(events, HasSubstr("\"booting\""));
  EXPECT_THAT(events, testing::Not(HasSubstr("\"booted\"")));
  EXPECT_THAT(events, HasSubstr("\"shutdown\""));
  EXPECT_FALSE(fs::exists(path("api")));
}

TEST_F(SimCloudHypervisor, MakesTrouble) {
  auto sim = serve({"ATTEST_SIM_TROUBLE=http500:PUT /api/v1/vm.create@1,die:PUT /api/v1/vm.boot"});
  auto api = this->api();
  EXPECT_EQ(put(api, "vm.create", config()).status, 500);
  EXPECT_EQ(put(api, "vm.create", config()).status, 204);
  api.send("PUT /api/v1/vm.boot HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(api.at_end());
  EXPECT_EQ(sim.wait(), 128 + 9);
}

}  // namespace
}  // namespace attest::sims
