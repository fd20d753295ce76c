// The blocking face of a machine: each call is one hop onto the loop. The work is in
// machine_impl.cc and machine_ends.cc (lifecycle), and in lib/guest (what is done inside the
// machine). Here: lifecycle. The other topics have files of their own beside this one.
#include "attest/machine.h"

#include "lib/core/machine_impl.h"

namespace attest {

Machine::Machine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Machine::~Machine() = default;

const std::string& Machine::name() const noexcept { return impl_->name; }
bool Machine::is_up() const { return impl_->up; }

void Machine::start(Here here) { impl_->call(impl_->start(), here); }
void Machine::shutdown(Here here) { impl_->call(impl_->shutdown(), here); }
void Machine::crash(Here here) { impl_->call(impl_->crash(), here); }

void Machine::reboot(WaitOptions options, Here here) {
  impl_->call(impl_->reboot(options.timeout), here);
}

void Machine::wait_for_shutdown(WaitOptions options, Here here) {
  impl_->call(impl_->wait_for_shutdown(impl_->wait_limit(options.timeout)), here);
}

}  // namespace attest
