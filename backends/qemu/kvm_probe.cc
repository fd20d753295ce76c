#include "backends/qemu/kvm_probe.h"

#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/text.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <unistd.h>

#include <array>
#include <future>

namespace attest::qemu {
namespace {

constexpr std::size_t most_output = 1 << 20;

// Reads until the kernel came up, or QEMU has closed the pipe, or enough has come.
Task<void> watch(Stream* output, std::string* text) {
  std::array<char, 4096> buffer;
  while (!kernel_came_up(*text) && text->size() < most_output) {
    std::size_t count = co_await output->read_some(buffer);
    if (count == 0) co_return;
    text->append(buffer.data(), count);
  }
}

Task<bool> watch_in_time(Stream* output, std::string* text, Deadline deadline) {
  try {
    co_await async::within(deadline, "probing KVM", watch(output, text));
    co_return true;
  } catch (const Error& error) {
    if (error.kind() == Error::Kind::timeout) co_return false;
    throw;
  }
}

}  // namespace

bool kernel_came_up(std::string_view serial) {
  for (std::string_view sign : {"VFS: Cannot open root device", "VFS: Unable to mount root fs",
                                "Run /init as init process", "Run /sbin/init as init process"})
    if (serial.find(sign) != std::string_view::npos) return true;
  return false;
}

std::string probe_kvm(const std::string& qemu, const std::filesystem::path& kernel,
                      std::chrono::milliseconds limit) {
  // A loop of its own on this thread: the caller may hold up the driver's loop, never run on it.
  asio::io_context context;
  auto output = base::stream_pair();
  auto errors = base::make_pipe();
  async::ChildSpec spec;
  spec.argv = {qemu,
               "-nodefaults",
               "-no-user-config",
               "-display",
               "none",
               "-machine",
               "q35",
               "-accel",
               "kvm",
               "-cpu",
               "host",
               "-m",
               "256M",
               "-no-reboot",
               "-chardev",
               "socket,id=serial,fd=3",
               "-serial",
               "chardev:serial",
               "-kernel",
               kernel.string(),
               "-append",
               "console=ttyS0 panic=-1"};
  spec.fds.emplace(2, std::move(errors.second));
  spec.fds.emplace(3, std::move(output.second));

  std::string serial, words;
  bool in_time = false;
  try {
    async::Child child(context.get_executor(), std::move(spec));
    auto stream = async::make_stream(context.get_executor(), std::move(output.first));
    auto answer = asio::co_spawn(
        context, watch_in_time(stream.get(), &serial, Deadline::after(limit)), asio::use_future);
    while (answer.wait_for(std::chrono::seconds(0)) != std::future_status::ready) context.run_one();
    in_time = answer.get();
    if (kernel_came_up(serial)) return "";
    // The end of its output comes a little before the end of the process (it may dump core).
    if (in_time) child.kill();
  } catch (const std::exception& failure) {
    return failure.what();
  }
  char buffer[2048];
  ssize_t count = in_time ? ::read(errors.first.get(), buffer, sizeof buffer) : 0;
  if (count > 0) words = base::printable(base::trim({buffer, std::size_t(count)}));
  if (in_time)
    return "QEMU ended before the guest's kernel was up" + (words.empty() ? "" : ": " + words);
  return "a probe guest did not boot in " + base::human(limit) +
         (serial.empty()
              ? " (no output)"
              : " (last output: '" + base::last_lines(base::printable(serial), 1) + "')");
}

}  // namespace attest::qemu
