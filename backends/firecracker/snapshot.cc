// Saving a machine, and going on from what was saved.
#include "attest/error.h"
#include "backends/firecracker/running.h"
#include "lib/async/aside.h"
#include "lib/async/within.h"

#include <algorithm>
#include <chrono>

namespace attest::firecracker {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

// Whatever becomes of the save, the guest goes on.
constexpr auto patience_with_resume = 10s;

// What is left of the time, without what the guest needs to go on.
Deadline for_saving(Deadline deadline) {
  auto left = deadline.left();
  return Deadline::after(left > 4s ? left - 2s : left / 2);
}

}  // namespace

Task<void> Running::save_steps(Self self, fs::path dir, Deadline deadline) {
  auto site = self->site_;
  auto api = self->api_;
  co_await api->call(pause_request(), deadline);
  std::exception_ptr failure;
  try {
    co_await api->call(save_request(dir), deadline);
    auto disks = [site, dir] {
      site->parts.drives.save_to(dir);
      return true;
    };
    co_await async::aside(std::move(disks));
  } catch (...) {
    failure = std::current_exception();
  }
  // The guest's connections end when it goes on, and it dials anew: what has come is not that, and
  // the present channel is not to take it.
  if (self->dial_) self->dial_->forget();
  if (!failure) ++self->connections_;
  self->changed_.pulse();
  auto process = self->process_;
  try {
    co_await api->call(resume_request(), Deadline::after(patience_with_resume));
  } catch (const Error& error) {
    // A guest that stands still for ever would only make all that follows late.
    process->end_with(std::string("it could not go on after it was saved: ") + error.what(), false);
    throw;
  }
  if (failure) std::rethrow_exception(failure);
}

Task<void> Running::save(Self self, fs::path dir, Deadline deadline) {
  if (self->is_gone()) throw Error(Error::Kind::host, self->result_.cause);
  auto process = self->process_;
  co_await async::unless(process->dies(), save_steps(self, dir, for_saving(deadline)));
}

Task<void> Running::load(Self self, fs::path dir, RestoreSpans* spans, Deadline deadline) {
  auto site = self->site_;
  auto api = self->api_;
  auto began = Clock::now();
  auto disks = [site, dir] {
    site->parts.drives.load_from(dir);
    site->finish();
    return true;
  };
  co_await async::aside(std::move(disks));
  auto requests = load_requests(site->launch, dir, site->context.network);
  co_await api->wait_until_up(deadline);
  auto up = Clock::now();
  co_await api->call_all(std::move(requests), deadline);
  self->fifo_.reset();
  auto loaded = Clock::now();
  co_await api->call(resume_request(), deadline);
  auto resumed = Clock::now();
  spans->start = up - began;
  spans->load = loaded - up;
  spans->resume = resumed - loaded;
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

}  // namespace attest::firecracker
