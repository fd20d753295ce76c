// Machine: saving, restoring, resizing. What a backend saves and loads is its own matter; here is
// the rest: the directory and its manifest, connections, what was under way.
#include "attest/machine.h"
#include "lib/async/aside.h"
#include "lib/base/checksum.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/core/failure.h"
#include "lib/core/machine_impl.h"
#include "lib/core/snapshot_files.h"

#include <ctime>

namespace attest {
namespace {

namespace fs = std::filesystem;

std::string now_text() {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// What is in the guest's caches belongs to its disks.
Task<void> flush(guest::Guest& guest, Deadline deadline) {
  guest::Command command{.shell = "sync", .argv = {}};
  command.label = "writing the guest's caches to its disks";
  co_await guest.run(std::move(command), deadline);
}

}  // namespace

Snapshotter& Machine::Impl::snapshotter() {
  auto* power = backend_->snapshotter();
  if (!power)
    throw has_no("snapshots", "backends that have them: see the table in docs/backends.md");
  return *power;
}

core::Manifest Machine::Impl::outline() const {
  core::Manifest manifest;
  manifest.machine = name;
  manifest.backend = config.backend;
  manifest.memory_mb = config.memory_mb;
  manifest.vcpus = config.vcpus;
  manifest.saved_at = now_text();
  manifest.ready = config.ready;
  manifest.nics = fleet.plan.node(name).nics;
  std::string seed;
  for (auto& file : net::seed_files(fleet.plan, name))
    seed += file.path + '\0' + file.content + '\0';
  manifest.seed = base::checksum(seed);
  return manifest;
}

Task<void> Machine::Impl::snapshot_create(fs::path dir, SnapshotOptions options) {
  core::SnapshotDir made(dir);  // refused before anything boots for it
  auto run = co_await ready_guest();
  auto deadline = fleet.limit(options.timeout.value_or(timeouts.boot));
  auto lock = co_await lifecycle_.lock();
  if (running_ != run || run->doomed.is_set()) throw run->obituary();
  auto& power = snapshotter();
  made.make();
  std::exception_ptr failure;
  try {
    auto facts = power.facts();
    co_await async::unless(core::Running::doom(run), flush(*run->guest, deadline));
    auto stream = co_await async::unless(
        core::Running::doom(run),
        async::within(deadline, "saving the machine", power.save(made.path(), deadline)));
    if (stream) co_await replace(run, std::move(stream), "connection lost at snapshot", deadline);
    auto describe = [manifest = outline(), facts, path = made.path()]() mutable {
      core::add_facts(manifest, facts);
      manifest.files = core::files_in(path);
      return manifest;
    };
    auto manifest = co_await async::aside(std::move(describe));
    base::write_file(made.path() / core::manifest_name, core::to_json(manifest));
    made.publish();
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  auto error = core::error_of(failure).during("saving it as '" + dir.string() + "'");
  co_await explain(run, std::make_exception_ptr(error), Evidence::none);
}

Task<void> Machine::Impl::replace(std::shared_ptr<core::Running> run,
                                  std::unique_ptr<Stream> stream, std::string cause,
                                  Deadline deadline) {
  auto next = std::make_shared<core::Running>(fleet.loop.executor(), name);
  next->ready = run->ready;
  next->shared = run->shared;
  next->linked = run->linked;
  running_ = next;
  run->replaced.set();
  condemn(*run, {.orderly = false, .cause = std::move(cause)});
  co_await run->watched.wait();
  std::exception_ptr failure;
  try {
    co_await meet(next, std::move(stream), deadline);
    up = !next->doomed.is_set();
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  // Nobody can speak to it any more.
  condemn(*next, {.orderly = false, .cause = "it did not answer after it was saved"});
  backend_->kill();
  if (next->watching) co_await next->watched.wait();
  running_.reset();
  std::rethrow_exception(failure);
}

Task<Machine::Impl::From> Machine::Impl::look_at_snapshot(fs::path dir) {
  auto facts = snapshotter().facts();
  auto path = fs::absolute(dir);
  auto look = [now = outline(), facts, path]() mutable {
    auto saved = core::read_manifest(path);
    core::add_facts(now, facts);
    auto unlike = core::differences(saved, now);
    if (!unlike.empty())
      throw Error(Error::Kind::usage, "the snapshot '" + path.string() + "' (of machine '" +
                                          saved.machine + "', saved at " + saved.saved_at +
                                          ") does not fit: " + base::join(unlike, "; "))
          .hint("make it again with this config on this host, or restore it where it was made");
    core::check_files(saved, path);
    return From{.dir = path, .saved = saved};
  };
  co_return co_await async::aside(std::move(look));
}

Task<void> Machine::Impl::snapshot_restore(fs::path dir, RestoreOptions options) {
  auto lock = co_await lifecycle_.lock();
  if (ended_) throw Error(Error::Kind::usage, "its driver has ended");
  co_await fleet.begin();
  if (!backend_) backend_ = fleet.setup.backends.find(config.backend)->second.make(context());
  auto from = co_await look_at_snapshot(dir);
  from.keep_clock = options.keep_clock;
  from.limit = options.timeout;
  if (auto run = running_) {
    run->replaced.set();
    condemn(*run, {.orderly = false, .cause = "connection lost at restore"});
    backend_->kill();
    co_await run->watched.wait();
    running_.reset();
  }
  boot_failure_.reset();
  co_await launch(std::move(from));
}

Task<void> Machine::Impl::resize(ResizeOptions options) {
  auto run = co_await ready_guest();
  auto* power = backend_->resizer();
  if (!power)
    throw has_no("way to change its size while it runs",
                 "use the cloud_hypervisor backend, or set vcpus and memory_mb in its config");
  auto deadline = fleet.limit(options.timeout.value_or(timeouts.wait));
  co_await async::unless(core::Running::doom(run),
                         async::within(deadline, "resizing the machine",
                                       power->resize(options.vcpus, options.memory_mb, deadline)));
  co_await async::unless(core::Running::doom(run), resized(run, options, deadline));
}

void Machine::snapshot_create(const fs::path& dir, SnapshotOptions options, Here here) {
  impl_->call(impl_->snapshot_create(dir, options), here);
}

void Machine::snapshot_restore(const fs::path& dir, RestoreOptions options, Here here) {
  impl_->call(impl_->snapshot_restore(dir, options), here);
}

void Machine::resize(ResizeOptions options, Here here) {
  impl_->call(impl_->resize(options), here);
}

}  // namespace attest
