#include "lib/core/network_capture.h"

#include "lib/core/failure.h"
#include "lib/net/capture_file.h"

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>

namespace attest {
namespace core {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto between_flushes = 200ms;  // so that people can look on

void flush_soon(const std::shared_ptr<Capturing>& one) {
  one->timer->expires_after(between_flushes);
  one->timer->async_wait([kept = std::weak_ptr(one)](boost::system::error_code cancelled) {
    auto capturing = kept.lock();
    if (cancelled || !capturing || !capturing->file) return;
    capturing->file->flush();
    flush_soon(capturing);
  });
}

void begin(Fleet& fleet, const std::shared_ptr<Capturing>& one) {
  one->timer = std::make_unique<asio::steady_timer>(fleet.loop.executor());
  one->watcher = fleet.fabric->watch(one->vlan, [capturing = one.get()](const net::Seen& seen) {
    capturing->file->see(seen);
    capturing->frames = capturing->file->frames();
  });
  one->running = true;
  fleet.captures.push_back(one);
  flush_soon(one);
}

// The first thing that the file could not take is kept for whoever asks.
void finish(Fleet& fleet, Capturing& one) {
  if (!one.file) return;
  fleet.fabric->unwatch(one.vlan, one.watcher);
  one.timer.reset();
  try {
    one.file->finish();
  } catch (const Error& e) {
    one.failure = e;
  }
  one.frames = one.file->frames();
  one.file.reset();
  one.claim.reset();
  one.running = false;
}

Task<std::shared_ptr<Capturing>> begin_one(Fleet& fleet, int vlan, fs::path path) {
  co_await fleet.begin();
  auto one = std::make_shared<Capturing>(std::move(path), fleet.plan, vlan);
  begin(fleet, one);
  co_return one;
}

Task<void> end_one(Fleet& fleet, std::shared_ptr<Capturing> one) {
  // Lets the loop look at its sockets and read what they have: posted work alternates with that.
  for (int turn = 0; turn < 4; ++turn)
    co_await asio::post(fleet.loop.executor(), asio::use_awaitable);
  if (!fleet.fabric) co_return;  // the driver's end was faster
  finish(fleet, *one);
  std::erase(fleet.captures, one);
}

// Of the whole run, where no other driver of the same test captures to.
fs::path file_for(const Fleet& fleet, int vlan) {
  auto dir = fs::absolute(fleet.setup.artifacts());
  auto path = dir / fmt::format("vlan{}.pcapng", vlan);
  for (int n = 2; Claim::is_taken(path); ++n) path = dir / fmt::format("vlan{}-{}.pcapng", vlan, n);
  return path;
}

// Of the whole run, once it has ended.
void keep_or_not(Fleet& fleet, const Capturing& one) {
  if (!one.whole_run) return;
  if (fleet.config.network.capture == CaptureAll::always || fleet.failed) {
    fleet.setup.say("", fmt::format("VLAN {}: {} frames in {}", one.vlan, one.frames.load(),
                                    one.path.string()));
    return;
  }
  std::error_code ignored;
  fs::remove(one.path, ignored);
  fs::remove(one.path.parent_path(), ignored);  // made for it; if nothing else came there
}

// The paths of all captures that run.
struct Claims {
  std::mutex mutex;
  std::set<std::string> paths;
};
Claims& claims() {
  static Claims all;
  return all;
}

}  // namespace

Claim::Claim(const fs::path& path) : path_(path.lexically_normal().string()) {
  std::lock_guard hold(claims().mutex);
  if (!claims().paths.insert(path_).second)
    throw Error(Error::Kind::usage, fmt::format("another capture is writing '{}'", path_));
}
Claim::~Claim() {
  std::lock_guard hold(claims().mutex);
  claims().paths.erase(path_);
}
bool Claim::is_taken(const fs::path& path) {
  std::lock_guard hold(claims().mutex);
  return claims().paths.contains(path.lexically_normal().string());
}

Capturing::Capturing(fs::path path_, const net::Plan& plan, int vlan_)
    : path(std::move(path_)), vlan(vlan_), claim(std::in_place, path) {
  file = std::make_unique<net::CaptureFile>(path, plan, vlan);
}
Capturing::~Capturing() = default;

Capture capture(Fleet& fleet, int vlan, const fs::path& path, std::source_location here) {
  try {
    if (path.empty() || !path.has_filename())
      throw Error(Error::Kind::usage, fmt::format("'{}' is no file's name", path.string()))
          .hint("for example capture(\"handshake.pcapng\")");
    auto whole = path.is_absolute() ? path : fs::absolute(fleet.setup.artifacts()) / path;
    auto one = on_loop(fleet, here, begin_one(fleet, vlan, std::move(whole)));
    return Capture(std::make_unique<Capture::Impl>(fleet.calls, fleet, std::move(one)));
  } catch (Error& e) {
    e.during(fmt::format("capturing VLAN {}", vlan)).at(here);
    throw;
  }
}

void capture_all(Fleet& fleet) {
  if (fleet.config.network.capture == CaptureAll::never) return;
  for (int vlan : fleet.fabric->plan().vlans) {
    if (fleet.captured.contains(vlan)) continue;
    auto one = std::make_shared<Capturing>(file_for(fleet, vlan), fleet.plan, vlan);
    one->whole_run = true;
    begin(fleet, one);
    fleet.captured.insert(vlan);
  }
}

void end_captures(Fleet& fleet) {
  for (auto& one : std::exchange(fleet.captures, {})) {
    try {
      finish(fleet, *one);
      keep_or_not(fleet, *one);
      if (one->failure && one->whole_run) throw *one->failure;
    } catch (const std::exception& e) {
      fleet.setup.say("", e.what());
    }
  }
}

}  // namespace core

void Capture::Impl::stop(Here here) {
  if (capturing->running) {
    try {
      core::on_loop(fleet, *calls, here, core::end_one(fleet, capturing));
    } catch (const Error&) {  // the driver's end has ended it
      if (capturing->running) throw;
    }
  }
  if (capturing->failure) throw Error(*capturing->failure).at(here);
}

Capture::Capture(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Capture::Capture(Capture&&) noexcept = default;

Capture& Capture::operator=(Capture&& other) noexcept {
  Capture old(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}

Capture::~Capture() {
  if (!impl_) return;
  try {
    impl_->stop(Here{});
  } catch (...) {  // a test that wants to know calls stop()
  }
}

void Capture::stop(Here here) {
  if (impl_) impl_->stop(here);
}

const std::filesystem::path& Capture::path() const noexcept {
  static const std::filesystem::path none;
  return impl_ ? impl_->capturing->path : none;
}

std::uint64_t Capture::frames() const noexcept {
  return impl_ ? impl_->capturing->frames.load() : 0;
}

}  // namespace attest
