#include "lib/core/fault.h"

#include <fmt/format.h>

#include <algorithm>

namespace attest {
namespace core {

Task<void> put_on(Fleet& fleet, std::shared_ptr<Applied> fault) {
  co_await fleet.begin();
  if (fault->on) co_return;
  if (net::has_choices(fault->plan) && !std::exchange(fleet.seed_told, true))
    fleet.setup.say("", fmt::format("network seed {0} (network.seed={0} repeats the choices of "
                                    "faults)",
                                    fleet.seed));
  fault->number = fleet.fabric->add_fault(fault->plan);
  fault->on = true;
  std::erase_if(fleet.faults, [](auto& one) { return one.expired(); });
  fleet.faults.push_back(fault);
}

Task<void> take_off(Fleet& fleet, std::shared_ptr<Applied> fault) {
  if (!fault->on) co_return;
  fleet.fabric->remove_fault(fault->number);
  fault->on = false;
  std::erase_if(fleet.faults, [&](auto& one) { return one.expired() || one.lock() == fault; });
}

void end_faults(Fleet& fleet) noexcept {
  for (auto& one : fleet.faults)
    if (auto fault = one.lock()) fault->on = false;
  fleet.faults.clear();
}

}  // namespace core

// The driver's end takes all faults off, so a way that is closed is no failure.
void Fault::Impl::heal(Here here) {
  if (!fault->on) return;
  try {
    core::on_loop(fleet, *calls, here, core::take_off(fleet, fault));
  } catch (const Error&) {
    if (fault->on) throw;
  }
}

Fault::Fault() = default;
Fault::Fault(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Fault::Fault(Fault&&) noexcept = default;

Fault& Fault::operator=(Fault&& other) noexcept {
  Fault old(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}

Fault::~Fault() {
  if (!impl_) return;
  try {
    impl_->heal(Here{});
  } catch (...) {  // it heals with the driver then
  }
}

void Fault::heal(Here here) {
  if (impl_) impl_->heal(here);
}

void Fault::apply(Here here) {
  if (!impl_) throw Error(Error::Kind::usage, "this handle has no fault").at(here);
  if (!impl_->fault->on)
    core::on_loop(impl_->fleet, *impl_->calls, here, core::put_on(impl_->fleet, impl_->fault));
}

bool Fault::active() const noexcept { return impl_ && impl_->fault->on; }

}  // namespace attest
