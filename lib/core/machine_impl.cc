#include "lib/core/machine_impl.h"

#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/core/failure.h"
#include "lib/core/snapshot_files.h"
#include "lib/core/uplink.h"
#include "lib/guest/agent_binary.h"
#include "lib/guest/diagnosis.h"
#include "lib/guest/ready.h"
#include "lib/net/plan.h"

#include <filesystem>

namespace attest {
namespace {
using namespace std::chrono_literals;
constexpr std::size_t console_lines_in_errors = 30;
constexpr std::size_t journal_lines_in_errors = 30;

// `key` is its place in the config.
SeedFile seed_file(const FileConfig& file, const std::string& key) {
  auto mode = static_cast<unsigned>(std::stoul(file.mode, nullptr, 8));
  try {
    return {file.to, base::read_file(file.from), mode};
  } catch (const Error& e) {
    throw Error(Error::Kind::usage, key + ".from: " + e.what())
        .hint("name a file that this host has and can read");
  }
}

}  // namespace

Machine::Impl::Impl(std::string name_, MachineConfig config_, core::Fleet& fleet_)
    : name(std::move(name_)),
      config(std::move(config_)),
      timeouts(fleet_.config.timeouts),
      fleet(fleet_),
      console_(
          fleet.loop.executor(),
          [this](std::string_view line) {
            if (fleet.serial_stdout) fleet.setup.say(name, line);
          },
          [this](std::string_view fate) {
            if (running_) condemn(*running_, {.orderly = false, .cause = std::string(fate)});
          }),
      lifecycle_(fleet.loop.executor()),
      links_(fleet.loop.executor()) {
  if (fleet.setup.output.empty()) return;
  auto folder = fleet.setup.output / name;
  std::filesystem::create_directories(folder);
  console_.write_to((folder / "console.log").string());
}

Error Machine::Impl::has_no(const std::string& what, const std::string& hint) const {
  return Error(Error::Kind::unsupported,
               "machine '" + name + "' (" + config.backend + ") has no " + what)
      .hint(hint);
}

BackendContext Machine::Impl::context() {
  BackendContext made{.machine = name,
                      .config = config,
                      .network = {},
                      .seed = {},
                      .agent = guest::agent_binary(),
                      .work_dir = fleet.setup.work_dir / name,
                      .state_dir = fleet.setup.work_dir / name,
                      .loop = fleet.loop.executor(),
                      .console = {},
                      .say =
                          [this, listening = listening_](std::string_view line) {
                            if (*listening) fleet.setup.say(name, line);
                          },
                      .outside = fleet.setup.outside};
  std::filesystem::create_directories(made.work_dir);
  if (config.keep_machine_state) {
    if (fleet.setup.output.empty())
      throw Error(Error::Kind::usage, "machines." + name +
                                          ".keep_machine_state: there is no output directory in "
                                          "which it could be kept")
          .hint("give --attest_output=DIRECTORY");
    made.state_dir = std::filesystem::absolute(fleet.setup.output / name / "state");
    std::filesystem::create_directories(made.state_dir);
  }
  made.network = fleet.fabric->attachments(name);
  made.plugs = fleet.fabric->plugs(name);
  made.seed = net::seed_files(fleet.plan, name);
  for (std::size_t i = 0; i < config.files.size(); ++i)
    made.seed.push_back(
        seed_file(config.files[i], "machines." + name + ".files[" + std::to_string(i) + "]"));
  // The backend's own coroutines may outlive us by a moment, on the loop.
  made.console = [this, listening = listening_](std::string_view bytes) {
    if (*listening) console_.feed(bytes);
  };
  return made;
}

Task<void> Machine::Impl::start() {
  auto lock = co_await lifecycle_.lock();
  if (ended_) throw Error(Error::Kind::usage, "its driver has ended");
  if (running_ && !running_->doomed.is_set()) co_return;
  if (boot_failure_) throw *boot_failure_;
  co_await launch({});
}

Task<void> Machine::Impl::launch(std::optional<From> from) {
  bool cold = std::exchange(rebooting_, false);
  auto run = std::make_shared<core::Running>(fleet.loop.executor(), name);
  starting_ = run;
  std::exception_ptr failure;
  try {
    co_await fleet.begin();
    if (!backend_) backend_ = fleet.setup.backends.find(config.backend)->second.make(context());
    co_await connect_uplink(run);
    backend_->kill();  // a guest that panicked or hangs in emergency mode may still be there
    if (running_) co_await running_->watched.wait();
    if (run->doomed.is_set()) throw run->obituary();
    running_ = run;
    auto prebuilt = core::snapshot_path(config);
    if (!from && !prebuilt.empty() && !cold) from = co_await look_at_snapshot(prebuilt);
    co_await boot(run, std::move(from));
    starting_.reset();
    up = !run->doomed.is_set();
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  starting_.reset();
  if (backend_) backend_->kill();
  if (running_ && running_ != run) co_await running_->watched.wait();
  if (run->watching) co_await run->watched.wait();
  running_.reset();
  console_.finish();
  auto error = core::error_of(failure).during("booting machine '" + name + "'");
  attach_console(error);
  if (fleet.end && fleet.end->passed())
    error.during("the whole run was out of time (timeouts.global)");
  boot_failure_ = error;
  condemn(*run, {.orderly = false, .cause = "its boot failed"});  // others may wait for its end
  run->watched.set();
  throw error;
}

Task<void> Machine::Impl::connect_uplink(std::shared_ptr<core::Running> run) {
  auto& uplink = fleet.plan.node(name).uplink;
  if (!uplink || fleet.fabric->has_uplink(name)) co_return;
  auto deadline = fleet.limit(std::chrono::seconds(30));
  auto opening = core::open_uplink(fleet.setup.outside, *uplink, deadline);
  auto passt = co_await async::unless(core::Running::doom(run), std::move(opening));
  fleet.fabric->connect_uplink(name, std::move(passt));
}

Task<void> Machine::Impl::boot(std::shared_ptr<core::Running> run, std::optional<From> from) {
  auto limit = from && from->limit ? *from->limit : timeouts.boot;
  auto deadline = fleet.limit(limit);
  auto began = std::chrono::steady_clock::now();
  auto begin = from ? snapshotter().restore(from->dir, deadline) : backend_->boot(deadline);
  auto stream = co_await async::unless(
      core::Running::doom(run), async::within(deadline, "starting the machine", std::move(begin)));
  co_await tell_unplugged(run, deadline);
  co_await meet(run, std::move(stream), deadline);
  if (from) co_await settle(run, std::move(*from), began, deadline);
}

Task<void> Machine::Impl::meet(std::shared_ptr<core::Running> run, std::unique_ptr<Stream> stream,
                               Deadline deadline) {
  guest::Bootstrap bootstrap{backend_->take_agent_port(), backend_->shared_dir().string(),
                             backend_->file_transfer()};
  run->watching = true;
  asio::co_spawn(fleet.loop.executor(), watch(run),
                 [run](std::exception_ptr) { run->watched.set(); });
  std::exception_ptr failure;
  try {
    run->guest = co_await async::unless(
        core::Running::doom(run), guest::greet(std::move(stream), std::move(bootstrap), deadline));
    if (auto notice = run->guest->take_notice(); !notice.empty()) fleet.setup.say(name, notice);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  auto error = core::error_of(failure);
  if (error.kind() == Error::Kind::guest) {
    if (!run->doomed.is_set()) co_await look_for_cause(run);
    if (run->doomed.is_set())
      throw run->obituary().during("waiting for the greeting of the guest's shell");
  }
  throw error;
}

Task<std::shared_ptr<core::Running>> Machine::Impl::ready_guest() {
  co_await start();
  auto run = running_;
  if (!run) throw Error(Error::Kind::guest, "machine '" + name + "' was stopped meanwhile");
  auto lock = co_await run->readying.lock();
  if (run->ready) co_return run;
  auto deadline = fleet.limit(fleet.config.timeouts.boot);
  std::exception_ptr failure;
  try {
    if (!run->was_ready)
      co_await async::unless(core::Running::doom(run),
                             guest::wait_ready(*run->guest, config.ready, deadline));
    co_await async::unless(core::Running::doom(run), make_mounts(run, deadline));
    run->ready = true;
    co_return run;
  } catch (...) {
    failure = std::current_exception();
  }
  co_await explain(run, failure, Evidence::units_and_journal);
  co_return run;  // not reached: explain() throws
}

Task<void> Machine::Impl::watch(std::shared_ptr<core::Running> run) {
  Gone end;
  try {
    end = co_await async::unless(core::Running::succession(run),
                                 backend_->wait_gone(Deadline::never()));
  } catch (const std::exception& e) {
    end.cause = std::string("it could not be watched: ") + e.what();
  }
  if (run->replaced.is_set()) co_return;  // the next one's watch has begun
  console_.finish();
  condemn(*run, std::move(end));
}

void Machine::Impl::condemn(core::Running& run, Gone end) {
  if (run.doomed.is_set()) return;  // the first cause is the real one
  if (running_.get() == &run) up = false;
  run.end = std::move(end);
  run.doomed.set();
}

void Machine::Impl::attach_console(Error& error) {
  error.attach("console, last lines", console_.tail(console_lines_in_errors));
}

Task<void> Machine::Impl::look_for_cause(std::shared_ptr<core::Running> run) {
  try {
    co_await async::within(Deadline::after(2s), "looking for the cause", run->doomed.wait());
  } catch (const Error&) {  // the machine lives; the error that made us look stands
  }
}

Task<void> Machine::Impl::explain(std::shared_ptr<core::Running> run, std::exception_ptr failure,
                                  Evidence evidence) {
  std::optional<Error> error;
  try {
    std::rethrow_exception(failure);
  } catch (const Error& e) {
    error = e;
  } catch (...) {  // not ours to explain
  }
  if (!error) std::rethrow_exception(failure);
  if (error->kind() == Error::Kind::host && !run->doomed.is_set()) {
    co_await look_for_cause(run);
    if (run->doomed.is_set()) error = run->obituary();
  }
  if (run->doomed.is_set()) attach_console(*error);
  if (evidence == Evidence::units_and_journal && !run->doomed.is_set() &&
      error->kind() != Error::Kind::usage && error->kind() != Error::Kind::unsupported) {
    auto soon = Deadline::after(10s);
    auto units = co_await guest::failed_units(*run->guest, soon);
    auto journal = co_await guest::journal_tail(*run->guest, "", journal_lines_in_errors, soon);
    error->attach("failed units", units).attach("journal, last lines", journal);
  }
  if (fleet.end && fleet.end->passed())
    error->during("the whole run was out of time (timeouts.global)");
  throw *error;
}

}  // namespace attest
