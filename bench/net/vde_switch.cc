#include "vde_switch.h"

#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/lines.h"
#include "lib/async/within.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>

namespace bench {

using namespace attest;
namespace {

constexpr const char* program = "vde_switch";

// Asks the console of the switch for a sign of life; the answer ends with "1000 Success".
// Both streams outlive the call.
Task<void> wait_ready(Stream* control, Stream* output) {
  try {
    co_await control->write_all("showinfo\n");
  } catch (const Error&) {
    // It has ended already; its output says why.
  }
  async::Lines lines(*output);
  std::string said;
  while (auto line = co_await lines.next()) {
    if (line->starts_with("1000 ")) co_return;
    said += *line + "\n";
  }
  throw Error(Error::Kind::host, "vde_switch ended before it was ready").attach("its output", said);
}

// Reads until the end: a switch whose output nobody takes would block on its own warnings.
Task<void> discard(std::shared_ptr<Stream> output) {
  char buffer[512];
  try {
    while (co_await output->read_some(buffer) > 0) continue;
  } catch (const std::exception&) {
    // Closed by the destructor, or broken: either way nobody waits for what it says.
  }
}

}  // namespace

struct VdeSwitch::Impl {
  ~Impl() {
    output->close();
    child->kill();
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
  }

  std::filesystem::path dir;
  std::unique_ptr<Stream> control;  // its stdin; it ends when this closes
  std::shared_ptr<Stream> output;
  std::unique_ptr<async::Child> child;
};

VdeSwitch::VdeSwitch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VdeSwitch::~VdeSwitch() = default;

const std::filesystem::path& VdeSwitch::dir() const noexcept { return impl_->dir; }

Task<std::unique_ptr<VdeSwitch>> VdeSwitch::start(std::filesystem::path dir, Deadline deadline) {
  auto loop = co_await asio::this_coro::executor;
  if (async::find_program(program).empty())
    throw Error(Error::Kind::host, "'vde_switch' was not found").hint("apt install vde2");
  std::filesystem::remove_all(dir);
  auto [input, to_switch] = base::make_pipe();
  auto [from_switch, output] = base::make_pipe();
  base::Fd errors(base::check(::fcntl(output.get(), F_DUPFD_CLOEXEC, 0), "duplicating a pipe"));
  async::ChildSpec spec{.argv = {program, "--sock", dir.string(), "--dirmode", "0700", "--hub"}};
  spec.fds.emplace(0, std::move(input));
  spec.fds.emplace(1, std::move(output));
  spec.fds.emplace(2, std::move(errors));

  auto child = std::make_unique<async::Child>(loop, std::move(spec));
  auto impl =
      std::unique_ptr<Impl>(new Impl{.dir = dir,
                                     .control = async::make_stream(loop, std::move(to_switch)),
                                     .output = async::make_stream(loop, std::move(from_switch)),
                                     .child = std::move(child)});
  std::string step = "starting vde_switch on '" + dir.string() + "'";
  try {
    co_await async::within(deadline, step, wait_ready(impl->control.get(), impl->output.get()));
    if (!std::filesystem::exists(dir / "ctl"))
      throw Error(Error::Kind::host, "vde_switch answers but has not made its socket 'ctl'");
  } catch (Error& error) {
    if (error.kind() != Error::Kind::timeout) error.during(step);
    throw;
  }
  asio::co_spawn(loop, discard(impl->output), [](std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
  });
  co_return std::unique_ptr<VdeSwitch>(new VdeSwitch(std::move(impl)));
}

}  // namespace bench
