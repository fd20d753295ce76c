#include "lib/core/process_impl.h"

namespace attest {
namespace {

void refuse_detached(const core::Spawned& spawned) {
  if (spawned.detached) throw Error(Error::Kind::usage, "the command was detached from its handle");
}

// A coroutine that has the shared part for itself: the handle may go while it waits.
template <class T, class Call>
Task<T> with(std::shared_ptr<core::Spawned> spawned, Call call) {
  refuse_detached(*spawned);
  co_return co_await call(*spawned);
}

}  // namespace

Process::Process(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Process::Process(Process&&) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
  Process old(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}

Process::~Process() {
  if (!impl_ || !impl_->spawned->running) return;
  try {
    impl_->call(impl_->spawned->drop(false), Here{});
  } catch (const Error&) {  // the driver has ended it already
  }
}

void Process::write(std::string_view bytes, Here here) {
  auto call = [bytes = std::string(bytes)](core::Spawned& one) { return one.write(bytes); };
  impl_->call(with<void>(impl_->spawned, std::move(call)), here);
}

void Process::close_stdin(Here here) {
  auto call = [](core::Spawned& one) { return one.close_input(); };
  impl_->call(with<void>(impl_->spawned, call), here);
}

std::optional<std::string> Process::read_line(WaitOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->wait_limit);
  auto call = [limit, &fleet = impl_->fleet](core::Spawned& one) {
    return one.read_line(fleet.limit(limit));
  };
  return impl_->call(with<std::optional<std::string>>(impl_->spawned, call), here);
}

CommandResult Process::wait(WaitOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->wait_limit);
  auto call = [limit, &fleet = impl_->fleet](core::Spawned& one) {
    return one.wait(fleet.limit(limit));
  };
  return impl_->call(with<CommandResult>(impl_->spawned, call), here);
}

void Process::kill(int signal, Here here) {
  auto call = [signal](core::Spawned& one) { return one.signal(signal); };
  impl_->call(with<void>(impl_->spawned, call), here);
}

bool Process::running() const { return impl_->spawned->running; }

void Process::detach() {
  auto call = [](core::Spawned& one) { return one.drop(true); };
  impl_->call(with<void>(impl_->spawned, call), Here::current());
}

}  // namespace attest
