// sim-cloud-hypervisor: behaves like Cloud Hypervisor, and runs the guest under QEMU.
// ATTEST_SIM_VERSION, ATTEST_SIM_TROUBLE and ATTEST_SIM_SPECS: see tests/sims/common.
//
// What it only takes note of: rate limits of network cards, huge pages, thp, landlock, seccomp,
// topology of CPUs, vm.nmi, counters. Devices are added and removed before the boot only; there is
// no firmware, virtiofs, vhost-user or TPM. OnDemand maps the memory file.
#include "lib/async/net.h"
#include "tests/sims/cloud_hypervisor/monitor.h"
#include "tests/sims/cloud_hypervisor/options.h"
#include "tests/sims/common/socket.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

namespace attest::sims::cloud_hypervisor {
namespace {

constexpr Version with_lock_file{53, 0, 0};

class Process {
 public:
  Process(Options options, Version version)
      : options_(std::move(options)),
        version_(version),
        trouble_(Trouble::from_environment()),
        monitor_(loop_.get_executor(), version, options_.has("no-shutdown"), trouble_,
                 [this](int code) { finish(code, ""); }) {}

  [[noreturn]] void run() {
    try {
      begin();
    } catch (const Refusal& refused) {
      finish(1, refused.what());
    }
    if (!ended_) loop_.run();
    monitor_.end();
    if (!socket_.empty()) ::unlink(socket_.c_str());
    if (!failure_.empty())
      std::cerr << "Error: Cloud Hypervisor exited with the following chain of errors:\n  0: "
                << failure_ << "\n";
    std::cerr.flush();
    ::_exit(
        code_);  // coroutines may be suspended still, within what would be destroyed before them
  }

 private:
  void finish(int code, const std::string& failure) {
    if (ended_) return;
    ended_ = true;
    code_ = code;
    failure_ = failure;
    loop_.stop();
  }

  void begin() {
    ::umask(077);
    if (options_.has("event-monitor")) {
      auto parts = parse_parts(options_.value("event-monitor"));
      base::Fd to(parts.contains("fd") ? std::stoi(parts["fd"])
                                       : ::open(parts["path"].c_str(),
                                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
      if (!to || ::fcntl(to.get(), F_SETFL, O_NONBLOCK) != 0)
        throw failed({"Error opening the event monitor", os_error(errno)});
      ::fcntl(to.get(), F_SETFD, FD_CLOEXEC);
      monitor_.events().open(std::move(to));
    }
    if (options_.has("log-file")) {
      base::Fd log(::open(options_.value("log-file").c_str(),
                          O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
      if (!log) throw failed({"Error creating log file", os_error(errno)});
    }
    monitor_.events().tell("vmm", "starting");
    switch (trouble_.suffer("START")) {
      case Trouble::Kind::none:
        break;
      case Trouble::Kind::stall:
        return wait_for_signals();
      default:
        throw failed({"trouble was asked for by ATTEST_SIM_TROUBLE"});
    }
    if (options_.has("api-socket")) serve();
    auto config = config_of(options_);
    if (!config.is_null())
      asio::co_spawn(loop_, monitor_.create_and_boot(std::move(config)),
                     [this](std::exception_ptr failure) {
                       if (!failure) return;
                       try {
                         std::rethrow_exception(failure);
                       } catch (const std::exception& refused) {
                         finish(1, refused.what());
                       }
                     });
    else if (!options_.has("api-socket"))
      throw failed({"no VM and no API socket was asked for"});
    wait_for_signals();
  }

  void wait_for_signals() {
    signals_.async_wait([this](boost::system::error_code failure, int) {
      if (!failure) finish(0, "");
    });
  }

  base::Fd listener() {
    auto parts = parse_parts(options_.value("api-socket"));
    if (parts.contains("fd")) {
      base::Fd inherited(std::stoi(parts["fd"]));
      if (::fcntl(inherited.get(), F_SETFD, FD_CLOEXEC) != 0)
        throw failed({"Error creating API server's socket", os_error(errno)});
      return inherited;
    }
    std::string path = parts["path"];
    if (version_ >= with_lock_file) {
      lock_.reset(::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      if (!lock_ || ::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
        throw failed({"Error creating API server's socket", "the lock of '" + path + "' is taken",
                      os_error(errno)});
      ::unlink(path.c_str());
    }
    try {
      auto made = listen_new(path);
      socket_ = path;
      return made;
    } catch (const std::system_error& refused) {
      throw failed({"Error creating API server's socket", os_error(refused.code().value())});
    }
  }

  void serve() {
    HttpSetup setup;
    setup.server = "Cloud Hypervisor API";
    setup.trouble = &trouble_;
    setup.fault = [](std::string text) { return json::array({"Error from API", text}).dump(); };
    server_ = std::make_unique<HttpServer>(
        loop_.get_executor(), listener(), setup,
        [this](HttpRequest request) { return monitor_.handle(std::move(request)); });
  }

  Options options_;
  Version version_;
  Trouble trouble_;
  asio::io_context loop_{1};
  asio::signal_set signals_{loop_, SIGTERM, SIGINT};
  Monitor monitor_;
  std::unique_ptr<HttpServer> server_;
  base::Fd lock_;
  std::string socket_;
  bool ended_ = false;
  int code_ = 0;
  std::string failure_;
};

int run(const std::vector<std::string>& words) {
  auto version = version_from_environment("53.0");
  auto options = parse_options(words, version);
  if (options.has("version") || options.has("help")) {
    std::cout << "cloud-hypervisor v" << version.text() << "\n"
              << "This is a stand-in of attest's tests (the guest runs under QEMU).\n";
    return 0;
  }
  Process(std::move(options), version).run();
}

}  // namespace
}  // namespace attest::sims::cloud_hypervisor

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return attest::sims::cloud_hypervisor::run({argv + 1, argv + argc});
  } catch (const std::exception& failure) {
    std::cerr << "Error: " << failure.what() << "\n";
    return 1;
  }
}
