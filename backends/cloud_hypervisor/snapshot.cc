// Saving a machine, and going on from what was saved.
#include "attest/error.h"
#include "backends/cloud_hypervisor/host_features.h"
#include "backends/cloud_hypervisor/running.h"
#include "lib/async/aside.h"
#include "lib/async/within.h"
#include "lib/base/file.h"

#include <algorithm>
#include <chrono>

namespace attest::cloud_hypervisor {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

// Whatever becomes of the save, the guest goes on.
constexpr auto patience_with_resume = 10s;
constexpr auto between_attempts = 50ms;
// What Cloud Hypervisor says while memory still comes in on demand.
constexpr std::string_view still_filling = "memory restore is still in progress";

// What is left of the time, without what the guest needs to go on.
Deadline for_saving(Deadline deadline) {
  auto left = deadline.left();
  return Deadline::after(left > 4s ? left - 2s : left / 2);
}

fs::path empty_directory(const fs::path& path) {
  fs::remove_all(path);
  fs::create_directory(path);
  return path;
}

void move_files(const fs::path& from, const fs::path& to) {
  for (auto& entry : fs::directory_iterator(from)) {
    auto target = to / entry.path().filename();
    std::error_code other_file_system;
    fs::rename(entry.path(), target, other_file_system);
    if (other_file_system) microvm::clone_file(entry.path(), target);
  }
  fs::remove_all(from);
}

Task<void> write_snapshot(std::shared_ptr<microvm::Api> api, fs::path dir, Deadline deadline) {
  auto request = save_request(dir);
  while (true) {
    bool later = false;
    try {
      co_await api->call(request, deadline);
      co_return;
    } catch (const Error& error) {
      later = std::string_view(error.what()).find(still_filling) != std::string_view::npos;
      if (!later || deadline.passed()) throw;
    }
    asio::steady_timer timer(co_await asio::this_coro::executor, between_attempts);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace

Task<void> Running::save_files(Self self, fs::path dir, Deadline deadline) {
  auto site = self->site_;
  auto api = self->api_;
  // Under landlock the monitor can write into the work directory only.
  bool confined = site->context.config.cloud_hypervisor.landlock;
  fs::path target = confined ? empty_directory(site->in_work_dir("saved")) : dir;
  co_await write_snapshot(api, target, deadline);
  auto files = [site, dir, target, confined] {
    if (confined) move_files(target, dir);
    auto memory = site->in_work_dir(memory_file);
    if (fs::exists(memory)) microvm::clone_file(memory, dir / memory_file);
    site->parts.drives.save_to(dir);
    return true;
  };
  co_await async::aside(std::move(files));
}

Task<void> Running::save_steps(Self self, fs::path dir, Deadline deadline) {
  auto api = self->api_;
  co_await api->call(simple_request("vm.pause"), deadline);
  std::exception_ptr failure;
  try {
    co_await save_files(self, dir, deadline);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) {
    // The guest that goes on is to have the same past as the one that was saved: its connection
    // ends, and it dials anew. What has come already is not that.
    if (self->dial_) self->dial_->forget();
    ++self->connections_;
    if (self->channel_) self->channel_->close();
  }
  auto process = self->process_;
  try {
    co_await api->call(simple_request("vm.resume"), Deadline::after(patience_with_resume));
  } catch (const Error& error) {
    // A guest that stands still for ever would only make all that follows late.
    process->end_with(std::string("it could not go on after it was saved: ") + error.what(), false);
    throw;
  }
  if (failure) std::rethrow_exception(failure);
}

Task<void> Running::save(Self self, fs::path dir, Deadline deadline) {
  auto process = self->process_;
  co_await async::unless(process->dies(), save_steps(self, dir, for_saving(deadline)));
}

MemoryMode Running::wanted_mode(std::string* why) const {
  auto& own = site_->context.config.cloud_hypervisor;
  if (own.restore == "map") return MemoryMode::map;
  if (own.restore == "copy") return MemoryMode::copy;
  bool demanded = own.restore == "on_demand";
  if (!demanded && site_->launch.version < with_on_demand) {
    *why = "Cloud Hypervisor " + site_->launch.version.text() + " has no restore on demand";
    return MemoryMode::copy;
  }
  *why = why_no_userfault();
  if (why->empty()) return MemoryMode::on_demand;
  if (!demanded) return MemoryMode::copy;
  throw Error(Error::Kind::unsupported, "'restore' \"on_demand\" cannot be had: " + *why)
      .hint("set it to \"auto\", which copies where that is so");
}

Task<void> Running::load(Self self, fs::path dir, RestoreSpans* spans, Deadline deadline) {
  auto site = self->site_;
  auto api = self->api_;
  auto& context = site->context;
  auto began = Clock::now();
  std::string why;
  auto wanted = self->wanted_mode(&why);
  auto files = [site, dir, wanted] {
    site->parts.drives.load_from(dir);
    if (site->context.config.allow_reboot) site->finish();
    auto saved = base::try_read_file(dir / "config.json");
    if (!saved)
      throw Error(Error::Kind::usage, "the snapshot '" + dir.string() + "' has no config.json")
          .hint("make it again");
    auto restored = restored_config(*saved, dir, site->context.config, site->launch,
                                    site->context.network, wanted);
    // A directory of this clone's own. The large files in it are the snapshot's.
    auto own = empty_directory(site->in_work_dir("restored"));
    base::write_file(own / "config.json", restored.json);
    for (const char* name : {"state.json", "memory-ranges"})
      fs::create_symlink(dir / name, own / name);
    return restored;
  };
  auto restored = co_await async::aside(std::move(files));
  self->memory_mb_ = restored.memory_mb;
  co_await api->wait_until_up(deadline);
  co_await api->call(ping_request(), deadline);
  auto up = Clock::now();
  auto call = restore_call(context.config, site->launch, site->in_work_dir("restored"),
                           restored.mode, context.network);
  co_await api->call_with(call.request, self->tap_fds(call), deadline);
  self->join_console();
  auto loaded = Clock::now();
  co_await api->call(simple_request("vm.resume"), deadline);
  auto resumed = Clock::now();
  spans->start = up - began;
  spans->load = loaded - up;
  spans->resume = resumed - loaded;
  spans->how = "memory " + words(restored.mode);
  if (restored.mode == MemoryMode::copy && !why.empty()) spans->how += ": " + why;
}

Task<RestoreSpans> Running::restore(Self self, fs::path dir, Deadline deadline) {
  RestoreSpans spans;
  if (auto notice = microvm::slow_restore_notice(); !notice.empty())
    self->site_->context.say(notice);
  self->launch();
  auto process = self->process_;
  co_await microvm::starting(process, load(self, dir, &spans, deadline));
  co_return spans;
}

}  // namespace attest::cloud_hypervisor
