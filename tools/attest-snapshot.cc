// attest-snapshot: boots a machine of a config and saves it, for tests to start from.
#include <attest/error.h>
#include <attest/sandbox.h>
#include <attest/snapshot.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr const char* usage =
    "usage: attest-snapshot CONFIG.json DIRECTORY [OPTION]...\n"
    "Boots a machine of the config, waits until a unit is active, and saves the machine as\n"
    "DIRECTORY. A config whose machine has a \"snapshot_path\" then starts from that.\n"
    "  --machine=NAME     which one, if the config has several\n"
    "  --unit=NAME        the unit to wait for (default: multi-user.target; empty: none)\n"
    "  --set=PATH=VALUE   changes the config: --set=machines.web.memory_mb=256\n"
    "  --help\n"
    "Exit codes: 0 it is there, 1 it failed, 2 bad arguments or config, 77 this host cannot run "
    "it.\n";

enum ExitCode { done = 0, failed = 1, bad_usage = 2, cannot_run = 77 };

int complain(std::string_view what) {
  std::fprintf(stderr, "attest-snapshot: %.*s\n", static_cast<int>(what.size()), what.data());
  return bad_usage;
}

struct Arguments {
  std::vector<std::string> positional, sets;
  attest::SnapshotRequest request;
};

// The value of --name=value in `word`, if it is that.
bool takes(std::string_view word, std::string_view name, std::string& value) {
  if (!word.starts_with(name) || word.size() <= name.size() || word[name.size()] != '=')
    return false;
  value = word.substr(name.size() + 1);
  return true;
}

int run(Arguments arguments) {
  auto config = attest::Config::from_file(arguments.positional[0]);
  for (auto& assignment : arguments.sets) config.set(assignment);
  config.validate();
  arguments.request.directory = std::filesystem::absolute(arguments.positional[1]);
  auto sandbox = attest::enter_sandbox();
  try {
    attest::build_snapshot(config, arguments.request);
  } catch (const attest::Error& e) {
    complain(e.what());
    if (e.kind() == attest::Error::Kind::usage) return bad_usage;
    return e.kind() == attest::Error::Kind::unsupported ? cannot_run : failed;
  }
  std::fprintf(stderr, "attest-snapshot: saved as %s\n",
               arguments.request.directory.string().c_str());
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  for (std::string_view word : std::vector<std::string_view>(argv + 1, argv + argc)) {
    std::string set;
    if (word == "--help" || word == "-h") {
      std::fputs(usage, stdout);
      return done;
    }
    if (takes(word, "--machine", arguments.request.machine) ||
        takes(word, "--unit", arguments.request.unit))
      continue;
    if (takes(word, "--set", set))
      arguments.sets.push_back(set);
    else if (word.starts_with("-"))
      return complain("'" + std::string(word) + "' is no option; --help lists them");
    else
      arguments.positional.emplace_back(word);
  }
  if (arguments.positional.size() != 2)
    return complain("expected a config and a directory; --help says more");
  try {
    return run(std::move(arguments));
  } catch (const attest::Error& e) {
    return complain(e.what());
  }
}
