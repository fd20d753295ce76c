// sim-firecracker: behaves like Firecracker, and runs the guest under QEMU.
// ATTEST_SIM_VERSION, ATTEST_SIM_TROUBLE and ATTEST_SIM_SPECS: see tests/sims/common.
//
// What it only takes note of: rate limits of network cards, caches and io_engine of drives,
// cpu_template, huge pages, MMDS as the guest would see it, clock_realtime. A Diff snapshot is a
// full one. Devices are not plugged in or out, memory comes from files only (no userfaultfd).
#include "tests/sims/common/socket.h"
#include "tests/sims/firecracker/fault.h"
#include "tests/sims/firecracker/monitor.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iostream>
#include <sstream>

namespace attest::sims::firecracker {
namespace {

enum ExitCode { generic_error = 1, bad_configuration = 152, bad_arguments = 153, hung_up = 156 };

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw Fault("Unable to open or read from the configuration file: " + os_error());
  return text.str();
}

int print_only(const Options& options, const Version& version) {
  if (options.has("help") || options.has("version")) {
    std::cout << "Firecracker v" << version.text() << "\n\n"
              << "This is a stand-in of attest's tests (the guest runs under QEMU).\n";
    return 0;
  }
  if (options.has("snapshot-version")) {
    std::cout << "v" << snapshot_version(version) << ".0.0\n";
    return 0;
  }
  int format = read_saved(*options.value("describe-snapshot")).config["snapshot_version"];
  std::cout << "v" << format << ".0.0\n";
  return 0;
}

class Process {
 public:
  Process(Options options, Version version)
      : options_(options),
        trouble_(Trouble::from_environment()),
        monitor_(loop_.get_executor(), options, version, trouble_,
                 [this](int code) { finish(code, ""); }) {}

  [[noreturn]] void run() {
    begin();
    if (!ended_) loop_.run();
    monitor_.end();
    monitor_.metrics().flush();
    if (!failure_.empty()) {
      monitor_.log().error(failure_);
      std::cerr << "Error: " << failure_ << "\n";
    }
    if (code_ == 0)
      monitor_.log().info("Firecracker exiting successfully. exit_code=0");
    else
      monitor_.log().error("Firecracker exiting with error. exit_code=" + std::to_string(code_));
    // Coroutines may be suspended still, within what would be destroyed before them.
    std::cerr.flush();
    ::_exit(code_);
  }

 private:
  void finish(int code, const std::string& failure) {
    if (ended_) return;
    ended_ = true;
    code_ = code;
    failure_ = failure;
    loop_.stop();
  }

  void configure_log() {
    json config = json::object();
    for (auto [option, member] : {std::pair("log-path", "log_path"), std::pair("level", "level"),
                                  std::pair("module", "module")})
      if (auto* value = options_.value(option)) config[member] = *value;
    config["show_level"] = options_.has("show-level");
    config["show_log_origin"] = options_.has("show-log-origin");
    try {
      monitor_.log().configure(config);
    } catch (const Fault& refused) {
      bool level = std::string_view(refused.what()).find("LevelFilter") != std::string_view::npos;
      finish(level ? bad_configuration : generic_error, refused.what());
    }
  }

  void begin() {
    configure_log();
    if (ended_) return;
    monitor_.log().info("Running Firecracker v" + version_text());
    switch (trouble_.suffer("START")) {
      case Trouble::Kind::none:
        break;
      case Trouble::Kind::stall:
        return wait_for_hang_up();
      default:
        return finish(generic_error, "trouble was asked for by ATTEST_SIM_TROUBLE");
    }
    try {
      if (auto* path = options_.value("metrics-path"))
        monitor_.metrics().open(*path, std::nullopt, json());
      if (auto* path = options_.value("config-file")) start_from(read_all(*path));
      if (!options_.has("no-api")) serve();
    } catch (const Fault& refused) {
      finish(generic_error, refused.what());
    }
    wait_for_hang_up();
  }

  std::string version_text() const { return version_from_environment("1.16.1").text(); }

  void wait_for_hang_up() {
    hang_up_.async_wait([this](boost::system::error_code failure, int) {
      if (!failure) finish(hung_up, "");
    });
  }

  void start_from(std::string text) {
    asio::co_spawn(loop_, monitor_.run_config(std::move(text)), [this](std::exception_ptr failure) {
      if (!failure) return;
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& refused) {
        finish(generic_error, std::string("Failed to build MicroVM from Json: ") + refused.what());
      }
    });
  }

  void serve() {
    const std::string& path = options_.values.at("api-sock");
    base::Fd listener;
    try {
      listener = listen_new(path);
    } catch (const std::system_error& refused) {
      if (refused.code().value() == EADDRINUSE)
        throw Fault("RunWithApiError error: Failed to open the API socket at: " + path +
                    ". Check that it is not already used.");
      throw Fault("RunWithApiError error: Failed to bind and run the HTTP server: IO error: " +
                  os_error(refused.code().value()));
    }
    HttpSetup setup;
    setup.payload_limit = std::stoul(options_.values.at("http-api-max-payload-size"));
    setup.trouble = &trouble_;
    setup.fault = [](std::string text) { return json{{"fault_message", text}}.dump(); };
    server_ = std::make_unique<HttpServer>(
        loop_.get_executor(), std::move(listener), setup,
        [this](HttpRequest request) { return monitor_.handle(std::move(request)); });
    monitor_.log().info("API server started.");
  }

  Options options_;
  Trouble trouble_;
  asio::io_context loop_{1};
  asio::signal_set hang_up_{loop_, SIGHUP};
  Monitor monitor_;
  std::unique_ptr<HttpServer> server_;
  bool ended_ = false;
  int code_ = 0;
  std::string failure_;
};

int run(const std::vector<std::string>& words) {
  Version version = version_from_environment("1.16.1");
  Options options;
  try {
    options = parse_options(words, version);
  } catch (const Fault& refused) {
    std::cerr << "Error: Arguments parsing error: " << refused.what()
              << " \n\nFor more information try --help.\n";
    return bad_arguments;
  }
  if (options.has("help") || options.has("version") || options.has("snapshot-version") ||
      options.value("describe-snapshot"))
    return print_only(options, version);
  Process(options, version).run();
}

}  // namespace
}  // namespace attest::sims::firecracker

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return attest::sims::firecracker::run({argv + 1, argv + argc});
  } catch (const std::exception& failure) {
    std::cerr << "sim-firecracker: " << failure.what() << "\n";
    return 1;
  }
}
